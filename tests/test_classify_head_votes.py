"""Votes against a dictionary that is filled neighbour by neighbour."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.evidence import Evidence
from classify_head.extras import Extras
from classify_head.label_scores import LabelScores
from classify_head.penalties import read_similarities
from classify_head.votes import NormVote, PowerVote, SumVote, Vote
from tests.small_evidence import query, stack

Neighbours = list[tuple[int, float]]  # label and cosine, nearest first

neighbours = st.lists(st.tuples(st.integers(0, 4), st.floats(-1, 1, width=32)), max_size=12).map(
    lambda drawn: sorted(drawn, key=lambda pair: -pair[1])
)
limits = st.none() | st.integers(1, 6)
votes = st.one_of(
    st.builds(SumVote, neighbors=limits, most=limits),
    st.builds(NormVote, neighbors=st.integers(1, 6)),
    st.builds(PowerVote, power=st.floats(0.5, 12), most=st.integers(1, 6)),
)


def cast(vote: Vote, evidence: Evidence) -> LabelScores:
    return vote(evidence, Extras(), read_similarities(evidence))


def evidence_of(found: Neighbours, padding: int = 0) -> Evidence:
    labels = [label for label, _ in found]
    sizes = [label + 1 for label in labels]  # landmark 0 has one image, landmark 4 has five
    return query(labels, [cosine for _, cosine in found], sizes=sizes, padding=padding)


def slow_votes(found: Neighbours, vote: Vote) -> dict[int, float]:
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for label, cosine in found[: getattr(vote, "neighbors", None)]:
        value = float(np.float32(cosine))
        if isinstance(vote, PowerVote):
            value = max(value, 0.0) ** vote.power
        if isinstance(vote, NormVote):
            value /= min(vote.neighbors, label + 1)
        sums.setdefault(label, 0.0)
        if counts.get(label, 0) < (getattr(vote, "most", None) or len(found)):
            sums[label] += value
        counts[label] = counts.get(label, 0) + 1
    return sums


@given(neighbours, votes, st.integers(0, 3))
def test_every_vote_equals_the_slow_count(found: Neighbours, vote: Vote, padding: int) -> None:
    counted = cast(vote, evidence_of(found, padding))
    expected = slow_votes(found, vote)
    assert set(counted.labels[0].tolist()) == set(expected)
    for label, score in zip(counted.labels[0].tolist(), counted.scores[0].tolist(), strict=True):
        assert score == pytest.approx(expected[label], abs=1e-9)


@given(neighbours, votes)
def test_labels_come_best_first_and_the_lower_of_equal_ones_first(
    found: Neighbours, vote: Vote
) -> None:
    counted = cast(vote, evidence_of(found))
    pairs = list(zip((-counted.scores[0]).tolist(), counted.labels[0].tolist(), strict=True))
    assert pairs == sorted(pairs)


@given(neighbours.filter(bool), votes)
def test_no_score_of_cosines_is_above_the_largest(found: Neighbours, vote: Vote) -> None:
    counted = cast(vote, evidence_of([(label, 1.0) for label, _ in found]))
    if not isinstance(vote, NormVote):  # its sizes say there are no more images than these
        assert counted.scores.max() <= counted.largest
    alone = cast(vote, query([1] * len(found), [1.0] * len(found), sizes=[9] * len(found)))
    assert alone.scores.max() <= alone.largest


@given(neighbours, st.integers(0, 4), st.floats(-1, 1, width=32))
def test_a_neighbour_of_another_label_never_raises_a_sum(
    found: Neighbours, added: int, cosine: float
) -> None:
    before = slow_votes(found, SumVote())
    more = sorted([*found, (added, cosine)], key=lambda pair: -pair[1])
    after = cast(SumVote(), evidence_of(more))
    for label, score in zip(after.labels[0].tolist(), after.scores[0].tolist(), strict=True):
        assert label == added or score <= before[label] + 1e-9


def test_the_reference_vector_of_knn_power() -> None:
    # c1: 0.9 ** 8 + 0.5 ** 8 = 0.43047 + 0.00391; c2: 0.8 ** 8 + 0.7 ** 8 = 0.16777 + 0.05765
    evidence = query([1, 2, 2, 1, 3], [0.9, 0.8, 0.7, 0.5, 0.45])
    counted = cast(PowerVote(power=8), evidence)
    assert counted.labels.tolist() == [[1, 2, 3]]
    assert counted.scores.round(3).tolist() == [[0.434, 0.225, 0.002]]


def test_ties_go_to_the_lower_label() -> None:
    evidence = query([7, 3, 5], [0.5, 0.5, 0.5])
    for vote in (SumVote(), NormVote(), PowerVote()):
        assert cast(vote, evidence).labels.tolist() == [[3, 5, 7]]


def test_queries_of_a_batch_do_not_mix() -> None:
    evidence = stack(
        query([4, 4], [0.75, 0.5]), query([4], [0.5], padding=1), query([], [], padding=2)
    )
    counted = cast(SumVote(), evidence)
    assert counted.labels.tolist() == [[4], [4], [-1]]
    assert counted.scores.tolist() == [[1.25], [0.5], [-np.inf]]


def test_a_neighbour_that_was_taken_out_does_not_vote() -> None:
    evidence = query([1, 2], [0.9, 0.8])
    counted = SumVote()(evidence, Extras(), np.array([[-np.inf, 0.8]]))
    assert counted.labels.tolist() == [[2]]


@pytest.mark.parametrize("padding", [0, 4])
def test_no_neighbours_give_no_labels(padding: int) -> None:
    for vote in (SumVote(), SumVote(neighbors=3), NormVote(), PowerVote()):
        assert cast(vote, query([], [], padding=padding)).labels.shape == (1, 0)


def test_no_queries_give_no_rows() -> None:
    none = query([1, 2], [0.9, 0.8]).take(slice(0, 0))
    for vote in (SumVote(), NormVote(), PowerVote()):
        assert cast(vote, none).labels.shape == (0, 0)


@given(neighbours, votes, st.integers(0, 3))
def test_what_neighbours_add_sums_to_the_scores(
    found: Neighbours, vote: Vote, padding: int
) -> None:
    evidence = evidence_of(found, padding)
    counted = cast(vote, evidence)
    assert counted.added is not None
    for label, score in zip(counted.labels[0].tolist(), counted.scores[0].tolist(), strict=True):
        assert counted.added[evidence.labels == label].sum() == pytest.approx(score, abs=1e-9)
    assert not counted.added[evidence.labels < 0].any()
