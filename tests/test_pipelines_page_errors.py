"""What wrong answers cost: all of the missing GAP, and the dearest come first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classify_head.answers import Answers
from classify_head.gap import gap, lost_gap
from pipelines.reports.page.errors import Error, list_errors, pick_errors, pick_surest

ROWS = st.lists(
    st.tuples(
        st.integers(-1, 3),
        st.sampled_from([0.1, 0.25, 0.5, 0.9]),
        st.sets(st.integers(0, 3), max_size=2),
    ),
    max_size=12,
)


def make_answers(rows: list[tuple[int, float, set[int]]]) -> Answers:
    """Return answers, at least one of them to a query that shows a landmark."""
    named = [(f"q{place:02}", *row) for place, row in enumerate([*rows, (3, 0.3, {3})])]
    return Answers.from_rows(named)


@given(rows=ROWS)
def test_wrong_and_missing_answers_cost_all_of_the_missing_gap(
    rows: list[tuple[int, float, set[int]]],
) -> None:
    answers = make_answers(rows)
    errors = list_errors(answers)
    costs = sum(error.lost for error in errors if error.kind != "ranked too low")
    assert costs == pytest.approx(1 - gap(answers), abs=1e-12)


@given(rows=ROWS)
def test_right_answers_lose_what_wrong_ones_above_take(
    rows: list[tuple[int, float, set[int]]],
) -> None:
    answers = make_answers(rows)
    taken = [error.lost for error in list_errors(answers) if error.kind == "ranked too low"]
    parts = lost_gap(answers)
    expected = parts["distractor_above"] + parts["ranked_too_low"]
    assert sum(taken) == pytest.approx(expected, abs=1e-12)


def test_every_error_is_named_and_the_dearest_is_first() -> None:
    rows = [
        ("a", 1, 0.9, [1]),  # right, nothing above: no error
        ("b", 2, 0.8, []),  # takes 1/3 of c and 1/5 of e
        ("c", 3, 0.7, [3]),
        ("d", 4, 0.6, [5]),  # loses its own, takes 1/5 of e
        ("e", 6, 0.5, [6, 7]),
        ("f", -1, 0.0, [8]),
        ("g", -1, 0.0, []),  # rightly unanswered
    ]
    errors = list_errors(Answers.from_rows(rows))
    found = [(rows[error.row][0], error.kind, error.wrong_above) for error in errors]
    assert found == [
        ("d", "wrong label", 1),
        ("f", "no answer", 0),
        ("b", "distractor", 0),
        ("e", "ranked too low", 2),
        ("c", "ranked too low", 1),
    ]
    lost = [(1 + 1 / 5) / 5, 1 / 5, (1 / 3 + 1 / 5) / 5, 2 / 5 / 5, 1 / 3 / 5]
    assert [error.lost for error in errors] == pytest.approx(lost)


def test_perfect_answers_have_no_errors() -> None:
    rows = [("a", 1, 0.9, [1]), ("b", 2, 0.5, [2]), ("c", 3, 0.1, [])]
    assert list_errors(Answers.from_rows(rows)) == []  # a distractor below all takes nothing


def test_few_errors_of_a_rare_kind_are_shown_beside_many_dear_ones() -> None:
    dear = [Error(row, "wrong label", 0.1, 0) for row in range(20)]
    cheap = [Error(20 + row, "ranked too low", 0.001, 5) for row in range(3)]
    shown = pick_errors([*dear, *cheap], 12)
    assert [error.row for error in shown] == [*range(10), 20, 21]


@pytest.mark.parametrize("count", [0, 1, 3, 30])
def test_as_many_errors_as_asked_for(count: int) -> None:
    errors = [Error(row, "wrong label", 1 / (row + 1), 0) for row in range(7)]
    assert pick_errors(errors, count) == errors[:count]
    assert pick_errors([], count) == []


def test_the_surest_answers_are_one_a_label() -> None:
    confidences = np.array([0.2, 0.9, 0.8, 0.9, 1.0])
    labels = np.array([4, 7, 7, 5, -1])
    assert pick_surest(confidences, labels, 3) == [1, 3, 0]
    assert pick_surest(confidences, labels, 1) == [1]
    assert pick_surest(confidences[:0], labels[:0], 3) == []
