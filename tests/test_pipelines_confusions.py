"""The confusion matrix: against scikit-learn, several landmarks in a photo, what is written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from classify_head.answers import Answers
from pipelines.reports.confusions import count_confusions, draw_confusions, write_confusions

labels = st.integers(-1, 4)


def answers_of(pairs: list[tuple[int, int]]) -> Answers:
    """Return answers to queries of one landmark, or none (-1): (truth, answer)."""
    truths = tuple(frozenset({truth} if truth >= 0 else ()) for truth, _ in pairs)
    predicted = np.array([answer for _, answer in pairs], dtype=np.int64)
    names = tuple(f"q{place}" for place in range(len(pairs)))
    return Answers(predicted, np.full(len(pairs), 0.5), names, truths)


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=30))
def test_the_matrix_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    found, counts = count_confusions(answers_of(pairs)).matrix
    truths, answers = zip(*pairs, strict=True)
    assert found.tolist() == sorted({*truths, *answers})
    expected = confusion_matrix(truths, answers, labels=np.arange(-1, 5))
    assert np.array_equal(counts, expected[np.ix_(found + 1, found + 1)])
    assert counts.sum() == expected.sum()


def test_a_photo_of_several_landmarks_counts_for_the_one_answered() -> None:
    truths = (frozenset({5, 2}), frozenset({5, 2}))
    found = count_confusions(Answers(np.array([5, 7]), np.array([0.5, 0.5]), ("a", "b"), truths))
    assert (found.truths.tolist(), found.answers.tolist()) == ([2, 5], [7, 5])


def test_rows_are_written_most_first_and_none_is_empty(tmp_path: Path) -> None:
    pairs = [(1, 2), (3, -1), (3, -1), (-1, 2), (1, 1), (1, 1), (1, 1)]
    path = write_confusions(count_confusions(answers_of(pairs)), tmp_path / "confusions.csv")
    assert path.read_text().splitlines() == [
        "landmark_id,answer,photos",
        "1,1,3",
        "3,,2",
        ",2,1",
        "1,2,1",
    ]


@pytest.mark.parametrize("pairs", [[(1, 1)], [(1, 2), (-1, -1), (3, 1)]])
def test_any_matrix_is_drawn_and_equal_ones_give_equal_bytes(
    pairs: list[tuple[int, int]], tmp_path: Path
) -> None:
    found = count_confusions(answers_of(pairs))
    drawn = [draw_confusions(found, tmp_path / f"{name}.png").read_bytes() for name in "ab"]
    assert drawn[0] == drawn[1]
