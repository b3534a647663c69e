"""Tables of scores a label: what they refuse, the best of them, and looking labels up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.label_scores import Choice, LabelScores, choose_best, images_of, look_up
from tests.small_evidence import query, random_evidence


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 99))
def test_the_best_label_is_the_first_by_score_and_then_by_label(
    queries: int, labels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table, scores = rng.integers(-1, 5, (queries, labels)), rng.integers(0, 3, (queries, labels))
    choice = choose_best(table, scores.astype(np.float64))
    for row in range(queries):
        pairs = zip(-scores[row], table[row], strict=True)
        ranked = sorted((score, label) for score, label in pairs if label >= 0)
        expected = (ranked[0][1], -ranked[0][0]) if ranked else (-1, 0)
        assert (choice.labels[row], choice.confidences[row]) == expected


@given(st.integers(0, 4), st.integers(0, 6), st.integers(0, 6), st.integers(0, 99))
def test_looking_up_equals_a_search_through_the_row(
    queries: int, known: int, asked: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels, wanted = rng.integers(-1, 5, (queries, known)), rng.integers(-1, 5, (queries, asked))
    values = rng.normal(size=(queries, known))
    found = look_up(labels, values, wanted, missing=-7.0)
    for row, column in np.ndindex(wanted.shape):
        label = wanted[row, column]
        own = [values[row, i] for i in range(known) if labels[row, i] == label and label >= 0]
        assert found[row, column] == max(own, default=-7.0)


@given(st.integers(0, 99), st.sampled_from([None, 1, 2]))
def test_the_nearest_images_of_a_label_are_marked(seed: int, most: int | None) -> None:
    evidence = random_evidence(seed)
    labels = np.array([0, 1, 2, 3, -1, 0])
    marked = images_of(evidence, labels, most)
    for row, label in enumerate(labels):
        own = [k for k in range(8) if evidence.labels[row, k] == label and label >= 0]
        assert np.flatnonzero(marked[row]).tolist() == own[:most]


def test_no_label_has_no_images_not_even_the_padding() -> None:
    assert not images_of(query([3], [0.5], padding=2), np.array([-1])).any()


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([[1, 2]], [[0.5]], r"labels \(1, 2\) and scores \(1, 1\)"),
        ([[1, -1]], [[0.5, 0.0]], "-inf elsewhere"),
        ([[1, 2]], [[0.5, -np.inf]], "finite where there is a label"),
        ([[1, 2]], [[0.5, 0.75]], "descend"),
    ],
)
def test_other_tables_are_refused(
    labels: list[list[int]], scores: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LabelScores(np.array(labels), np.array(scores))


def test_a_choice_needs_finite_confidences_of_the_same_queries() -> None:
    with pytest.raises(ValueError, match="query 1 has label 2 and confidence nan"):
        Choice(np.array([1, 2]), np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match=r"labels \(1,\) and confidences \(2,\)"):
        Choice(np.array([1]), np.array([0.5, 0.5]))
