"""Rules of ensembles against slow ones written down image by image, and joined descriptors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.ensemble import (
    combine_embeddings,
    combine_heads,
    concatenate_descriptors,
    keep_shared,
)
from classify_head.ensemble_rules import RULES
from embed.head_scores import MOST_CLASSES, HeadScores
from embed.shards import Embeddings

Answer = list[tuple[int, float]]  # (label, probability), likeliest first
SYMMETRIC = ("majority", "highest", "boost", "mean", "agreeing-mean")


def head(*rows: Answer, width: int | None = None) -> HeadScores:
    """Write down what a member says of each image; its cosines are of no use to any rule."""
    found = HeadScores.none(len(rows), max(map(len, rows)) if width is None else width)
    for number, row in enumerate(rows):
        for place, (label, probability) in enumerate(row):
            found.labels[number, place] = label
            found.probabilities[number, place] = probability
            found.scores[number, place] = -7.0
    return found


def answers(found: HeadScores) -> list[dict[int, float]]:
    """Return the value of each class, best first, image by image."""
    assert np.array_equal(found.scores, found.probabilities)
    pairs = zip(found.labels.tolist(), found.probabilities.tolist(), strict=True)
    return [
        {label: value for label, value in zip(*row, strict=True) if label >= 0} for row in pairs
    ]


def combine(rule: str, *members: Answer, **options: Any) -> dict[int, float]:
    """Combine what members say of one image."""
    return answers(combine_heads([head(member) for member in members], rule, **options))[0]


def expect(rule: str, members: Sequence[Answer], weights: Sequence[float]) -> dict[int, float]:
    """Compute the value of each class of one image, slowly."""
    said = [dict(member) for member in members]
    firsts = [member[0][0] if member else -1 for member in members]
    agree = len(set(firsts)) == 1 and firsts[0] >= 0
    values = {}
    for label in sorted({label for member in said for label in member}):
        given = [member.get(label, 0.0) for member in said]
        votes = firsts.count(label)
        average = sum(w * p for w, p in zip(weights, given, strict=True)) / sum(weights)
        chosen = [p for p, first in zip(given, firsts, strict=True) if first == label]
        together = 1 - math.prod(1 - p for p in chosen)
        large = given[0]
        if agree and rule == "corrected":
            large *= said[1][firsts[0]] / said[0][firsts[0]]
        values[label] = {
            "majority": (votes + sum(given) / len(given)) / (len(given) + 1),
            "highest": max(given),
            "corrected": large,
            "boost": max(together, max(given)) if votes > 1 else max(given),
            "mean": sum(given) / len(given),
            "weighted": average,
            "agreeing-mean": average if agree else max(given),
        }[rule]
    return values


@st.composite
def member(draw: st.DrawFn, most: int = 5) -> Answer:
    """Draw the likeliest classes of a softmax over few labels: many members agree."""
    labels = draw(st.lists(st.integers(0, 7), max_size=most, unique=True))
    # Of 40 parts, so that ties are common; some of them belong to classes that are not kept.
    parts = sorted(draw(st.tuples(*[st.integers(1, 8)] * len(labels))), reverse=True)
    return [
        (label, float(np.float32(part / 40))) for label, part in zip(labels, parts, strict=True)
    ]


images = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(member(), min_size=size, max_size=size), min_size=1, max_size=4)
)


def stack(drawn: list[list[Answer]]) -> list[HeadScores]:
    """Turn images of members into members of images."""
    return [head(*rows) for rows in zip(*drawn, strict=True)]


@given(images, st.sampled_from(sorted(RULES)), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_every_rule_is_what_it_is_image_by_image(
    drawn: list[list[Answer]], rule: str, numbers: list[int]
) -> None:
    if rule == "corrected":
        drawn = [(row * 2)[:2] for row in drawn]
    weights = numbers[: len(drawn[0])] if rule in ("weighted", "agreeing-mean") else None
    found = answers(combine_heads(stack(drawn), rule, weights))
    for got, row in zip(found, drawn, strict=True):
        expected = expect(rule, row, weights or [1.0] * len(row))
        best = sorted(expected.values(), reverse=True)[:MOST_CLASSES]
        assert list(got.values()) == pytest.approx(best, abs=1e-6)
        assert got == pytest.approx({label: expected[label] for label in got}, abs=1e-6)
        assert all(0 <= value <= 1 for value in got.values())


@given(images, st.sampled_from(SYMMETRIC), st.randoms())
def test_the_order_of_members_changes_no_bit(
    drawn: list[list[Answer]], rule: str, random: Any
) -> None:
    members = stack(drawn)
    found = combine_heads(members, rule)
    random.shuffle(members)
    shuffled = combine_heads(members, rule)
    assert found.labels.tobytes() == shuffled.labels.tobytes()
    assert found.probabilities.tobytes() == shuffled.probabilities.tobytes()


@given(images, st.sampled_from(sorted(RULES)))
def test_images_do_not_know_one_another(drawn: list[list[Answer]], rule: str) -> None:
    members = [head(*rows, width=5) for rows in zip(*drawn, strict=True)]
    members = (members * 2)[:2] if rule == "corrected" else members
    weights = range(1, len(members) + 1) if rule == "weighted" else None
    whole = combine_heads(members, rule, weights)
    alone = [
        combine_heads([one.take(slice(row, row + 1)) for one in members], rule, weights)
        for row in range(len(drawn))
    ]
    assert whole.labels.tobytes() == HeadScores.concatenate(alone).labels.tobytes()
    assert whole.scores.tobytes() == HeadScores.concatenate(alone).scores.tobytes()


@pytest.mark.parametrize("rule", SYMMETRIC)
def test_a_lone_member_is_ranked_as_it_was(rule: str) -> None:
    lone = head([(9, 0.5), (2, 0.25), (4, 0.125)], [(3, 0.75)], [])
    found = combine_heads([lone], rule)
    assert np.array_equal(found.labels, lone.labels)
    if rule != "majority":
        assert np.array_equal(found.probabilities, lone.probabilities)
    assert np.array_equal(found.labels, combine_heads([lone] * 3, rule).labels[:, :3])


def test_most_first_choices_win_against_the_surest_member() -> None:
    found = combine("majority", [(1, 0.4), (2, 0.3)], [(1, 0.3)], [(2, 0.99)])
    assert list(found) == [1, 2]
    assert found == pytest.approx({1: (2 + 0.7 / 3) / 4, 2: (1 + 1.29 / 3) / 4})


def test_ties_of_votes_go_to_the_larger_probability_then_to_the_lower_label() -> None:
    assert list(combine("majority", [(5, 0.5)], [(3, 0.25)], [(4, 0.375)])) == [5, 4, 3]
    assert list(combine("majority", [(5, 0.5)], [(3, 0.5)], [(4, 0.5)])) == [3, 4, 5]
    # A second choice counts among the probabilities: .25 + .375 of 3, .5 of 5.
    assert list(combine("majority", [(5, 0.5), (3, 0.25)], [(3, 0.375)])) == [3, 5]


def test_the_surest_member_answers() -> None:
    found = combine("highest", [(1, 0.5), (2, 0.25)], [(1, 0.5)], [(2, 0.75), (1, 0.125)])
    assert found == {2: 0.75, 1: 0.5}


@pytest.mark.parametrize("small", [0.125, 1.0])
def test_an_agreeing_second_member_sets_the_confidence_and_keeps_the_order(small: float) -> None:
    found = combine("corrected", [(1, 0.5), (2, 0.375)], [(1, small), (3, 0.0)])
    assert list(found) == [1, 2, 3]
    assert found == {1: small, 2: 0.375 * small / 0.5, 3: 0.0}


def test_without_agreement_the_first_member_stands() -> None:
    assert combine("corrected", [(1, 0.5), (2, 0.375)], [(2, 0.9)]) == {1: 0.5, 2: 0.375}
    assert combine("corrected", [(1, 0.5)], []) == {1: 0.5}


def test_a_first_member_that_is_sure_of_nothing_can_be_corrected() -> None:
    assert combine("corrected", [(1, 0.0), (2, 0.0)], [(1, 0.5)]) == {1: 0.5, 2: 0.0}


def test_agreement_raises_confidence_and_second_choices_do_not() -> None:
    assert combine("boost", [(1, 0.5)], [(1, 0.75)]) == {1: 0.875}
    assert combine("boost", [(1, 0.5), (2, 0.25)], [(2, 0.375), (1, 0.25)]) == {1: 0.5, 2: 0.375}
    assert combine("boost", [(1, 1.0)], [(1, 1.0)]) == {1: 1.0}


def test_a_class_that_a_member_does_not_name_has_0_in_its_mean() -> None:
    assert combine("mean", [(1, 0.5)], [(2, 0.75), (1, 0.25)]) == {1: 0.375, 2: 0.375}
    found = combine("weighted", [(1, 0.5)], [(2, 0.75), (1, 0.25)], weights=[1, 3])
    assert found == {2: 0.5625, 1: 0.3125}


def test_a_member_of_weight_0_does_not_count() -> None:
    assert combine("weighted", [(1, 0.5)], [(2, 1.0)], weights=[2, 0]) == {1: 0.5, 2: 0.0}


def test_means_are_taken_only_where_all_agree() -> None:
    agree = [(1, 0.5), (2, 0.25)], [(1, 0.75)]
    assert combine("agreeing-mean", *agree) == {1: 0.625, 2: 0.125}
    assert combine("agreeing-mean", *agree, weights=[3, 1]) == {1: 0.5625, 2: 0.1875}
    assert combine("agreeing-mean", *agree, [(2, 0.375)]) == {1: 0.75, 2: 0.375}


@pytest.mark.parametrize("rule", RULES)
def test_members_may_know_no_class_in_common(rule: str) -> None:
    weights = [1.0, 1.0] if rule == "weighted" else None
    found = combine(rule, [(8, 0.75), (1, 0.125)], [(5, 0.5), (2, 0.25)], weights=weights)
    assert list(found) == [8, 5, 2, 1] if rule != "corrected" else [8, 1, 2, 5]
    assert found[8] == max(found.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("count", "widths"), [(3, (0, 0)), (0, (2, 3)), (2, (0, 2)), (1, (2, 0))])
def test_nothing_to_go_by_gives_no_classes(rule: str, count: int, widths: tuple[int, int]) -> None:
    weights = [1.0, 1.0] if rule == "weighted" else None
    found = combine_heads([HeadScores.none(count, width) for width in widths], rule, weights)
    assert found.labels.shape == (count, sum(widths))
    assert (found.labels == -1).all() and not found.scores.any()


def test_as_many_classes_are_kept_as_of_one_head() -> None:
    members = [head([(10 * m + n, (20 - n) / 400) for n in range(10)]) for m in range(3)]
    found = combine_heads(members, "highest")
    assert found.labels.tolist() == [[0, 10, 20, 1, 11, 21, 2, 12, 22, 3]]
    assert found.labels.shape == (1, MOST_CLASSES)


def test_scores_and_probabilities_are_arrays_of_their_own() -> None:
    found = combine_heads([head([(1, 0.5)])], "mean")
    assert not np.shares_memory(found.scores, found.probabilities)


ONE = head([(1, 0.5)])


@pytest.mark.parametrize(
    ("members", "rule", "weights", "message"),
    [
        ([ONE], "mojority", None, "unknown rule 'mojority'; did you mean 'majority'"),
        ([ONE], "x", None, "unknown rule 'x'; there are majority, highest"),
        ([], "mean", None, "given 0 members, expected 1 or more"),
        ([ONE], "corrected", None, "given 1 members, expected two: of the large set"),
        ([ONE] * 3, "corrected", None, "given 3 members, expected two"),
        ([ONE, head([], [])], "mean", None, r"scores of \[1, 2\] images"),
        ([head([(1, 1.5)])], "boost", None, r"image 0 has probabilities \[1.5\] by member 0"),
        ([ONE, head([(1, math.nan)])], "mean", None, r"probabilities \[nan\] by member 1"),
        ([ONE], "weighted", None, "needs weights"),
        ([ONE], "mean", [1.0], "'mean' takes no weights; weighted and agreeing-mean do"),
        ([ONE], "weighted", [1.0, 2.0], "expected 1 of them, 0 or more, one above 0"),
        ([ONE], "weighted", [-1.0], r"weights are \[-1.0\]"),
        ([ONE], "weighted", [0.0], "one above 0"),
        ([ONE], "agreeing-mean", [math.inf], r"weights are \[inf\]"),
    ],
)
def test_senseless_ensembles_are_refused(
    members: list[HeadScores], rule: str, weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        combine_heads(members, rule, weights)


def unit_rows(seed: int, rows: int, dim: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dim))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.floats(0, 100)), min_size=1, max_size=4),
    st.integers(0, 5),
    st.booleans(),
)
def test_cosines_of_joined_descriptors_are_the_weighted_mean(
    models: list[tuple[int, float]], rows: int, weighted: bool
) -> None:
    parts = [unit_rows(seed, rows, dim) for seed, (dim, _) in enumerate(models)]
    weights = [weight + 0.01 for _, weight in models] if weighted else None
    joined = concatenate_descriptors(parts, weights)
    assert joined.dtype == np.float32 and joined.shape == (rows, sum(dim for dim, _ in models))
    cosines = [part @ part.T for part in parts]
    expected = np.average(cosines, axis=0, weights=weights or [1.0] * len(parts))
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-5)


def test_a_lone_descriptor_is_joined_to_itself_alone() -> None:
    part = unit_rows(0, 3, 4)
    assert concatenate_descriptors([part]).tobytes() == part.tobytes()


def test_senseless_descriptors_are_refused() -> None:
    part = unit_rows(0, 2, 3)
    with pytest.raises(ValueError, match="no descriptors to join"):
        concatenate_descriptors([])
    with pytest.raises(ValueError, match=r"\[\(2, 3\), \(1, 3\)\], expected \[N, D\] each"):
        concatenate_descriptors([part, part[:1]])
    with pytest.raises(ValueError, match="row 0 of part 1 has length 2, expected 1"):
        concatenate_descriptors([part, 2 * part])
    with pytest.raises(ValueError, match="row 0 of part 0 has length nan"):
        concatenate_descriptors([part * np.float32(np.nan)])
    with pytest.raises(ValueError, match="expected 2 of them"):
        concatenate_descriptors([part, part], [1.0])


def embeddings(ids: str, dim: int, seed: int) -> Embeddings:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(len(ids), dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.sort(generator.random((len(ids), 2), dtype=np.float32))[:, ::-1].copy()
    labels = np.tile(np.arange(2), (len(ids), 1))
    return Embeddings(tuple(ids), np.arange(len(ids)), vectors, HeadScores(labels, scores, scores))


def test_only_images_that_all_could_read_are_combined() -> None:
    parts = keep_shared([embeddings("abcd", 3, 0), embeddings("bcde", 2, 1)])
    assert [part.ids for part in parts] == [("b", "c", "d")] * 2
    whole = combine_embeddings(parts, "mean")
    assert whole.vectors.shape == (3, 5)
    np.testing.assert_allclose(np.linalg.norm(whole.vectors, axis=1), 1, atol=1e-6)


def test_members_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="describe different images"):
        combine_embeddings([embeddings("ab", 3, 0), embeddings("bc", 3, 1)], "mean")
