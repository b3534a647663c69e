"""Every published policy by a vector worked by hand, and what holds for all of them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.extras import Extras, MissingEvidenceError
from classify_head.label_scores import Choice, LabelScores
from classify_head.policies import NO_GUESS, POLICIES, Decisions, decide
from classify_head.policy import Policy, adjust
from tests.small_evidence import query, random_evidence, stack

FIVE = [1, 2, 2, 1, 3], [0.9, 0.8, 0.7, 0.5, 0.45]
# Each neighbour's largest cosines to the pool: their mean over 3 is 0.2, over 5 it is 0.15.
NEAR = [[0.3, 0.2, 0.1, 0.1, 0.05]] * 5
NOT_BY_NEIGHBOURS = {"centroid", "centroid-softmax", "calibrated"}
BY_NEIGHBOURS = sorted(set(POLICIES) - NOT_BY_NEIGHBOURS)
# They need a head, a pool or extras.
DEMANDING = {
    *NOT_BY_NEIGHBOURS,
    "knn-power-x-head",
    "nl-gallery",
    "nl-query",
    "nl-mean3",
    "nl-gate",
}
DEMANDING |= {"head", "inliers-mix", "label-agreement", "torino", "se-attention", "beta-mix"}
names = st.sampled_from(sorted(POLICIES))
seeds = st.integers(0, 9999)

# name -> the query, the answer and its confidence, with the arithmetic
VECTORS: dict[str, tuple[Evidence, int, float]] = {
    "top1": (query(*FIVE), 1, 0.9),
    "head": (query(*FIVE, head={3: 0.6, 1: 0.5}), 3, 0.6),
    "knn-sum": (query(*FIVE), 2, 0.8 + 0.7),
    # landmark 1 has 5 images or more, 2 has two, 3 has one: 1.4 / 5, 1.5 / 2, 0.45 / 1
    "knn-norm": (query(*FIVE, sizes=[9, 2, 2, 9, 1]), 2, 0.75),
    "knn-power": (query(*FIVE), 1, 0.9**8 + 0.5**8),
    "knn-power-x-head": (
        query(*FIVE, head={2: 0.88, 1: 0.75}),
        2,
        (0.8**8 + 0.7**8) * 0.88**12,
    ),
    # (0.9 - 0.15) + (0 - 0.15), the negative cosine clipped; of label 1 only 0.6 - 0.15
    "nl-gallery": (query([2, 1, 2], [0.9, 0.6, -0.2], neighbor_pool=NEAR[:3]), 2, 0.6),
    # (0.8 - 0.15) + (0.7 - 0.15) of label 2; only one of the best 3 is of label 1
    "nl-query": (
        query(*FIVE, neighbor_pool=NEAR, pool=[0.4, 0.2] * 5),
        2,
        0.65 + 0.55 - 0.3,
    ),
    # label 1: 0.9 + 0.5 + 0.3 - 3 * 0.2 + 3 * 0.6, the eighth neighbour does not vote
    "nl-mean3": (
        query(
            [*FIVE[0], 3, 1, 1],
            [*FIVE[1], 0.4, 0.3, 0.25],
            neighbor_pool=[NEAR[0]] * 8,
            head={1: 0.6, 5: 0.2},
        ),
        1,
        2.9,
    ),
    "nl-gate": (query(*FIVE, pool=[0.6, 0.6, 0.5, 0.5, 0.4, 0.0]), 1, 0.0),  # a mean of 0.52
    # 1 - d^2 = 2 cos - 1. label 1: 0.8 + 7 / 70; label 2: 0.6 + 0.4 + 70 / 70 + 14 / 70;
    # the fourth neighbour, of label 1 with 99 inliers, does not vote
    "inliers-add": (query(*FIVE, inliers=[7, 99, 14, 99, -1]), 2, 2.2),
    "inliers-add-35": (query(*FIVE, inliers=[7, 0, 14, 99, -1]), 2, 0.8 + 0.7 + 14 / 35),
    "inliers-mul": (query(*FIVE, inliers=[10, 20, 15, 300, -1]), 1, 0.5 * 200),
    # 12 inliers at most with landmark 1, which are the most of this batch of one
    "inliers-mix": (query(*FIVE, inliers=[9, 99, 0, 12, -1], head={1: 0.6}), 1, 0.85 + 0.15 * 0.6),
    "frequent-label": (query(*FIVE, inliers=[7, 99, 14, 99, -1]), 2, 2.2),
    # cos(q, i) + 0.5 for the predicted label 2, cos(q, i) - 0.05 for others
    "label-agreement": (query(*FIVE), 2, 0.8 + 0.5),
    "torino": (query(*FIVE, inliers=[25, 0, 0, 0, 0], head={1: 0.6}), 1, 0.6),
    "se-attention": (query(*FIVE, inliers=[6, 0, 0, 4, 0], head={1: 0.6}), 1, 0.6),
    # 0.5 * (0.7 + 0) for class 9 is below 0.5, 0.5 * (0.6 + 0.8) for class 2 is not
    "beta-mix": (query(*FIVE, head={9: 0.7, 2: 0.6}), 2, 0.7),
    "weighted": (
        query(*FIVE, inliers=[24, 0, 0, -1, 0], pool=[0.3] * 5),
        1,
        ((0.9**8 + 0.5**8) / 5 + 0.5 * (1 - math.exp(-1)) + 0.2 * 0.7) / 1.7,
    ),
    "centroid": (query(*FIVE), 4, 0.75),
    # two classes of cosine 0.75 and 0.5
    "centroid-softmax": (query(*FIVE, pool=[0.25]), 4, 0.75 / (1 + math.exp(-0.25))),
    "calibrated": (query(*FIVE), 3, 0.125),
}


def extras_for(evidence: Evidence) -> Extras:
    """Return extras that every policy can do with: the same for every query."""
    rows = np.ones((len(evidence), 1))
    return Extras(
        centroids=LabelScores((rows * [4, 2]).astype(np.int64), rows * [0.75, 0.5]),
        support=np.full(evidence.labels.shape, 0.5, np.float32),
        calibrated=lambda queries: Choice(np.full(len(queries), 3), np.full(len(queries), 0.125)),
    )


def run(name: str, evidence: Evidence) -> Decisions:
    return decide(evidence, POLICIES[name], extras_for(evidence))


def same(one: Decisions, other: Decisions) -> bool:
    pairs = (
        (one.guesses.labels, other.guesses.labels),
        (one.guesses.confidences, other.guesses.confidences),
        (one.votes, other.votes),
        (one.penalties, other.penalties),
    )
    return one.reasons == other.reasons and all(np.array_equal(*pair) for pair in pairs)


def test_every_policy_has_a_vector() -> None:
    assert set(VECTORS) == set(POLICIES)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_answers_its_vector(name: str) -> None:
    evidence, label, confidence = VECTORS[name]
    decisions = run(name, evidence)
    assert (decisions.answers.labels.tolist(), decisions.reasons) == ([label], ("",))
    assert decisions.guesses.confidences[0] == pytest.approx(confidence)


@given(names, seeds)
def test_confidences_are_finite_and_what_is_no_answer_has_a_reason(name: str, seed: int) -> None:
    decisions = run(name, random_evidence(seed))
    assert np.isfinite(decisions.guesses.confidences).all() and np.isfinite(decisions.votes).all()
    for label, guess, reason in zip(
        decisions.answers.labels, decisions.guesses.labels, decisions.reasons, strict=True
    ):
        assert label == (-1 if reason else guess)


@given(names, seeds)
def test_a_query_without_neighbours_has_no_answer(name: str, seed: int) -> None:
    decisions = run(name, random_evidence(seed))  # the last of these has none
    guesses = decisions.guesses
    found = decisions.answers.labels[-1], guesses.labels[-1], guesses.confidences[-1]
    assert found == (-1, -1, 0.0) and decisions.reasons[-1] == NO_GUESS


@given(names, seeds, st.integers(1, 3))
def test_padding_changes_nothing(name: str, seed: int, more: int) -> None:
    evidence = random_evidence(seed)
    fills: dict[str, Any] = {"labels": -1, "similarities": -1, "inliers": -1, "residuals": np.nan}
    padded = {}
    for field, array in evidence.arrays.items():
        wide = array.ndim > 1 and array.shape[1] == evidence.labels.shape[1]
        widths = [(0, 0), (0, more if wide else 0), (0, 0)][: array.ndim]
        padded[field] = np.pad(array, widths, constant_values=fills.get(field, 0))
    assert same(run(name, Evidence(evidence.query_ids, **padded)), run(name, evidence))


@given(st.sampled_from(BY_NEIGHBOURS), seeds, st.permutations(range(4)))
def test_other_numbers_for_the_labels_give_the_same_answers(
    name: str, seed: int, permutation: list[int]
) -> None:
    evidence = random_evidence(seed)
    # All labels tie where the gate closed or nothing was verified, and then the numbers decide.
    evidence.query_pool[:] = evidence.query_pool.clip(max=0.5)
    evidence.inliers[:] = np.where(evidence.labels >= 0, evidence.inliers.clip(1), -1)
    new = np.append(np.array(permutation) + 50, -1)
    arrays = evidence.arrays
    renamed = {field: new[arrays[field]] for field in ("labels", "head_labels")}
    before = run(name, evidence)
    after = run(name, Evidence(evidence.query_ids, **{**arrays, **renamed}))
    assert np.array_equal(after.guesses.labels, new[before.guesses.labels])
    assert np.allclose(after.guesses.confidences, before.guesses.confidences)


@given(names, seeds)
def test_a_query_is_answered_alone_as_in_company(name: str, seed: int) -> None:
    if POLICIES[name].transductive:
        return
    evidence = random_evidence(seed)
    together = run(name, evidence)
    for row in range(len(evidence)):
        alone = run(name, evidence.take(slice(row, row + 1)))
        assert alone.answers.labels[0] == together.answers.labels[row]
        assert alone.guesses.confidences[0] == together.guesses.confidences[row]
        assert alone.reasons[0] == together.reasons[row]


def test_the_transductive_policies_are_those_that_look_at_all_queries() -> None:
    found = {name for name, policy in POLICIES.items() if policy.transductive}
    assert found == {"inliers-mix", "frequent-label"}


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_no_queries_have_no_answers(name: str) -> None:
    decisions = run(name, random_evidence(0).take(slice(0, 0)))
    assert decisions.answers.labels.shape == decisions.guesses.confidences.shape == (0,)


@pytest.mark.parametrize("name", BY_NEIGHBOURS)
def test_ties_go_to_the_lower_label(name: str) -> None:
    evidence = query(
        [7, 3, 5],
        [0.5] * 3,
        inliers=[30] * 3,
        pool=[0.25] * 10,
        neighbor_pool=[[0.125] * 5] * 3,
        head={3: 0.5, 5: 0.5, 7: 0.5},
    )
    assert run(name, evidence).answers.labels.tolist() == [3]


def test_a_label_answered_for_31_queries_goes_to_the_end() -> None:
    often, once = query([1], [0.9], inliers=[70]), query([2], [0.6], inliers=[0])
    decisions = run("frequent-label", stack(*[often] * 31, once))
    assert decisions.guesses.confidences.tolist() == [-31.0] * 31 + [pytest.approx(0.2)]
    assert decisions.answers.labels.tolist() == [1] * 31 + [2]


def test_a_rejected_query_keeps_its_guess_confidence_and_reason() -> None:
    evidence = query(*FIVE, inliers=[3, 0, 0, 4, 0], head={1: 0.6})
    decisions = run("se-attention", evidence)
    assert (decisions.answers.labels.tolist(), decisions.guesses.labels.tolist()) == ([-1], [1])
    assert decisions.guesses.confidences.tolist() == [pytest.approx(0.6)]
    assert decisions.votes.tolist() == [pytest.approx(1.4)]
    assert decisions.reasons[0].startswith("3.5 inliers on average and 4 at most with 2 images")


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_says_what_it_lacks(name: str) -> None:
    if name in DEMANDING:
        with pytest.raises(MissingEvidenceError, match="choose another policy"):
            decide(query(*FIVE), POLICIES[name])
    else:
        assert decide(query(*FIVE), POLICIES[name]).reasons == ("",)


def test_centroids_of_other_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="centroids of 2 queries, but evidence of 1"):
        decide(query(*FIVE), POLICIES["centroid"], extras_for(stack(query(*FIVE), query(*FIVE))))


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_survives_being_written_down(name: str) -> None:
    policy = POLICIES[name]
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


def test_numbers_of_a_policy_can_be_changed_and_steps_replaced() -> None:
    policy = adjust(
        POLICIES["knn-power-x-head"],
        {"vote": {"power": 9}, "fusion": {"power": 10}, "rejection": {"name": "threshold"}},
    )
    assert policy.vote.model_dump() == {"name": "power", "power": 9.0, "most": 5}
    fusion = {"name": "times-head", "power": 10.0, "top": 5, "floor": 1e-8}
    assert policy.fusion.model_dump() == fusion
    assert policy.rejection.model_dump() == {"name": "threshold", "threshold": 0.15}
    replaced = adjust(policy, {"vote": {"name": "sum"}})
    assert replaced.vote.model_dump() == {"name": "sum", "neighbors": None, "most": None}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"fusin": {}}, "unknown step 'fusin'; did you mean 'fusion'?"),
        (
            {"fusion": {"inlier_weigth": 1}},
            "fusion 'weighted' has no 'inlier_weigth'; did you mean 'inlier_weight'?",
        ),
        ({"fusion": {"name": "had"}}, "fusion = {'name': 'had'}: expected .*'head'"),
        ({"vote": {"power": -1}}, "vote.power.power = -1: expected more than 0"),
    ],
)
def test_a_wrong_change_is_explained(steps: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        adjust(POLICIES["weighted"], steps)
