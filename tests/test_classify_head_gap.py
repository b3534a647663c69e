"""GAP and its companions against published values and slow, obvious versions."""

import doctest
import itertools
import json
from collections.abc import Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify_head import gap as module
from classify_head.answers import Answers

Row = tuple[str, int, float, Iterable[int]]

# The recognition data of the public DELF metrics test (tensorflow/models, research/delf,
# google_landmarks_dataset/metrics_test.py), which expects GAP 0.166667, GAP over landmark
# queries 0.333333 and top-1 0.333333.
DELF: list[Row] = [
    ("0123456789abcdef", -1, 0.0, [0, 12]),
    ("0223456789abcdef", 0, 0.01, [100, 200, 300]),
    ("0323456789abcdef", 1, 10.0, [1]),
    ("0423456789abcdef", 150, 15.0, []),
    ("0523456789abcdef", -1, 0.0, []),
]

LABELS = st.integers(0, 3)


@st.composite
def tables(draw: st.DrawFn, max_size: int = 8) -> list[Row]:
    """Draw rows with few labels and few scores, so that hits and ties are common."""
    truths = draw(st.lists(st.sets(LABELS, max_size=2), min_size=1, max_size=max_size))
    truths[0] = truths[0] or {0}  # GAP needs a landmark
    return [
        (f"q{n}", draw(st.integers(-1, 3)), draw(st.integers(-2, 2)) / 2, truth)
        for n, truth in enumerate(draw(st.permutations(truths)))
    ]


def slow_gap_in_order(ranked: list[Row], total: int) -> float:
    hits, summed = 0, 0.0
    for rank, (_, label, _, truth) in enumerate(ranked, start=1):
        if label in truth:
            hits += 1
            summed += hits / rank
    return summed / total


def slow_gap(rows: list[Row]) -> float:
    answered = [row for row in rows if row[1] != -1]
    ranked = sorted(answered, key=lambda row: (-row[2], row[0], row[1]))
    return slow_gap_in_order(ranked, len([row for row in rows if row[3]]))


def of(rows: list[Row]) -> Answers:
    return Answers.from_rows(rows)


def test_the_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(module)
    assert result.attempted > 10
    assert result.failed == 0


def test_the_values_of_the_public_delf_test_are_reproduced() -> None:
    answers = of(DELF)
    assert module.gap(answers) == pytest.approx(0.166667, abs=1e-6)
    assert module.gap_landmark_only(answers) == pytest.approx(0.333333, abs=1e-6)
    assert module.top1(answers) == pytest.approx(0.333333, abs=1e-6)


def test_the_slides_example_has_precision_1_two_thirds_and_three_quarters() -> None:
    # The worked example of the challenge's slides: B right, A wrong, A right, C right, one
    # query unanswered, M = 5. P = 1, -, 2/3, 3/4.
    rows: list[Row] = [
        ("1", 1, 0.91, [1]),
        ("2", 0, 0.67, [2]),
        ("3", 0, 0.33, [0]),
        ("4", 2, 0.11, [2]),
        ("5", -1, 0.0, [1]),
    ]
    assert module.gap(of(rows)) == pytest.approx((1 + 2 / 3 + 3 / 4) / 5)


def test_the_tie_envelope_of_one_wrong_and_two_right_is_the_known_one() -> None:
    # (1/2 + 2/3) / 3, (1 + 1) / 3, and the mean of rel = 011, 101, 110 by hand.
    rows: list[Row] = [("a", 9, 0.5, [1]), ("b", 2, 0.5, [2]), ("c", 3, 0.5, [3])]
    low, high, mean = module.tie_envelope(of(rows))
    assert (round(low, 4), round(high, 4), round(mean, 4)) == (0.3889, 0.6667, 0.5370)


@given(tables())
def test_gap_equals_the_slow_loop(rows: list[Row]) -> None:
    assert module.gap(of(rows)) == pytest.approx(slow_gap(rows))
    landmarks = [row for row in rows if row[3]]
    assert module.gap_landmark_only(of(rows)) == pytest.approx(slow_gap(landmarks))
    right = len([row for row in landmarks if row[1] in row[3]])
    assert module.top1(of(rows)) == pytest.approx(right / len(landmarks))


@given(tables(max_size=6))
@settings(max_examples=60)
def test_the_tie_envelope_equals_the_enumeration_of_all_orders(rows: list[Row]) -> None:
    answered = [row for row in rows if row[1] != -1]
    total = len([row for row in rows if row[3]])
    values = [
        slow_gap_in_order(list(order), total)
        for order in itertools.permutations(answered)
        if all(first[2] >= second[2] for first, second in itertools.pairwise(order))
    ]
    expected = (min(values), max(values), sum(values) / len(values))
    assert module.tie_envelope(of(rows)) == pytest.approx(expected)


@given(tables(max_size=6))
@settings(max_examples=60)
def test_the_reorder_bound_is_the_best_gap_over_all_orders(rows: list[Row]) -> None:
    answered = [row for row in rows if row[1] != -1]
    total = len([row for row in rows if row[3]])
    orders = itertools.permutations(answered)
    best = max(slow_gap_in_order(list(order), total) for order in orders)
    assert module.reorder_bound(of(rows)) == pytest.approx(best)


@given(tables())
def test_a_better_order_wins_back_what_distractors_and_ranks_cost(rows: list[Row]) -> None:
    lost = module.lost_gap(of(rows))
    gain = module.reorder_bound(of(rows)) - module.gap(of(rows))
    assert gain == pytest.approx(lost["distractor_above"] + lost["ranked_too_low"])


@given(tables())
def test_gap_lies_in_its_tie_envelope(rows: list[Row]) -> None:
    low, high, mean = module.tie_envelope(of(rows))
    assert low - 1e-12 <= module.gap(of(rows)) <= high + 1e-12
    assert low - 1e-12 <= mean <= high + 1e-12


@given(tables(), st.randoms())
def test_the_row_order_and_increasing_maps_of_the_scores_change_nothing(
    rows: list[Row], random: Random
) -> None:
    mapped: list[Row] = [(i, label, float(np.exp(3 * s)) - 7, t) for i, label, s, t in rows]
    random.shuffle(mapped)
    before, after = module.summary(of(rows), samples=5), module.summary(of(mapped), samples=5)
    assert json.dumps(before) == json.dumps(after)


@given(tables(), st.integers(0, 3), st.sets(LABELS, max_size=2))
def test_an_answer_below_all_others_never_lowers_gap(
    rows: list[Row], label: int, truth: set[int]
) -> None:
    blank, sunk = ("z", -1, 0.0, truth), ("z", label, -99.0, truth)
    assert module.gap(of([*rows, sunk])) >= module.gap(of([*rows, blank]))


@given(tables())
def test_the_parts_of_the_lost_gap_sum_to_what_is_missing(rows: list[Row]) -> None:
    lost = module.lost_gap(of(rows))
    assert list(lost) == ["wrong_label", "distractor_above", "ranked_too_low", "unanswered"]
    assert min(lost.values()) >= 0
    assert sum(lost.values()) == pytest.approx(1 - module.gap(of(rows)))


@pytest.mark.parametrize(
    ("row", "cause", "amount"),
    [
        (("x", 5, 0.9, [6]), "wrong_label", 1 / 2),
        (("x", 5, 0.9, [6]), "ranked_too_low", 1 / 4),
        (("x", 5, 0.9, []), "distractor_above", 1 / 2),
        (("x", -1, 0.9, [6]), "unanswered", 1 / 2),
        (("x", 5, 0.1, []), "distractor_above", 0),
    ],
)
def test_each_cause_of_lost_gap_is_told_apart(row: Row, cause: str, amount: float) -> None:
    answers = of([("a", 1, 0.5, [1]), row])
    assert module.lost_gap(answers)[cause] == pytest.approx(amount)


@given(tables(), st.data())
def test_counts_equal_a_table_with_repeated_rows(rows: list[Row], data: st.DataObject) -> None:
    size = len(rows)
    counts = data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    # "q3" < "q3+1" < "q4": copies stay beside their original among ties.
    copies: list[Row] = [
        (f"{i}+{copy}", label, score, truth)
        for (i, label, score, truth), count in zip(rows, counts, strict=True)
        for copy in range(count)
    ]
    if any(truth for _, _, _, truth in copies):
        assert module.gap_of_counts(of(rows), np.array(counts)) == pytest.approx(slow_gap(copies))
    else:
        with pytest.raises(ValueError, match="no query with a positive count"):
            module.gap_of_counts(of(rows), np.array(counts))


def synthetic(size: int, seed: int) -> list[Row]:
    generator = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(size):
        right = bool(generator.random() < 0.6)
        truth = [1] if generator.random() < 0.5 else []
        score = float(np.round(generator.random() + 0.3 * right, 2))
        rows.append((f"q{number:03}", 1 if right else 2, score, truth))
    return rows


def test_the_interval_equals_a_naive_loop_over_the_same_draws() -> None:
    rows = synthetic(40, seed=1)  # ids are sorted, so draws index rows directly
    generator = np.random.default_rng(5)
    values = []
    for _ in range(50):
        drawn = generator.integers(40, size=40)
        values.append(
            slow_gap([(f"{rows[n][0]}+{k:02}", *rows[n][1:]) for k, n in enumerate(drawn)])
        )
    low, high = module.bootstrap_interval(of(rows), level=0.9, samples=50, seed=5)
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))


def test_the_interval_holds_the_estimate_and_depends_on_the_seed_alone() -> None:
    answers = of(synthetic(300, seed=2))
    low, high = module.bootstrap_interval(answers, samples=200)
    assert low < module.gap(answers) < high
    assert (low, high) == module.bootstrap_interval(answers, samples=200)
    assert (low, high) != module.bootstrap_interval(answers, samples=200, seed=1)
    narrow = module.bootstrap_interval(answers, samples=200, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_resamples_without_a_landmark_are_drawn_again() -> None:
    rows: list[Row] = [("a", 1, 0.9, [1]), *((f"b{n}", -1, 0.0, ()) for n in range(5))]
    assert module.bootstrap_interval(of(rows), samples=30) == (1.0, 1.0)


def test_counting_none_equals_none_as_correct_would_give_another_value() -> None:
    # A widespread version compares predicted with true label and so rewards every blank
    # distractor: here it would find 2 of 3 right.
    rows: list[Row] = [("a", 1, 0.9, [1]), ("b", -1, 0.8, []), ("c", 2, 0.7, [3])]
    as_one_label = [next(iter(truth), -1) for _, _, _, truth in rows]
    wrong = np.array([row[1] for row in rows]) == np.array(as_one_label)
    assert module.average_precision(wrong, 3) == pytest.approx(2 / 3)
    assert module.gap(of(rows)) == pytest.approx(1 / 2)


def test_keeping_the_first_of_several_true_labels_would_give_another_value() -> None:
    rows: list[Row] = [("a", 12, 0.9, [0, 12]), ("b", 1, 0.8, [1])]
    first_only: list[Row] = [(i, label, score, list(truth)[:1]) for i, label, score, truth in rows]
    assert module.gap(of(rows)) == 1
    assert module.gap(of(first_only)) == pytest.approx(1 / 4)


def test_ties_are_broken_by_id_and_not_by_row_order() -> None:
    rows: list[Row] = [("b", 1, 0.5, [1]), ("a", 2, 0.5, [1])]
    assert module.gap(of(rows)) == pytest.approx(1 / 4)


def test_a_single_right_answer_scores_1() -> None:
    assert module.gap(of([("a", 1, -3.0, [1])])) == 1
    assert module.tie_envelope(of([("a", 1, -3.0, [1])])) == (1, 1, 1)


def test_no_answer_at_all_scores_0() -> None:
    answers = of([("a", -1, 9.0, [1]), ("b", -1, 0.0, [])])
    assert module.gap(answers) == 0
    assert module.top1(answers) == 0
    assert module.tie_envelope(answers) == (0, 0, 0)
    assert module.bootstrap_interval(answers, samples=10) == (0, 0)
    assert module.lost_gap(answers)["unanswered"] == 1


@pytest.mark.parametrize("rows", [[], [("a", 1, 0.5, [])], [("a", -1, 0.0, [])]])
@pytest.mark.parametrize(
    "metric",
    [
        module.gap,
        module.gap_landmark_only,
        module.top1,
        module.tie_envelope,
        module.reorder_bound,
        module.bootstrap_interval,
        module.lost_gap,
        module.summary,
    ],
)
def test_without_a_landmark_every_figure_is_refused(metric: object, rows: list[Row]) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match=f"none of the {len(rows)} queries shows a landmark"):
        metric(of(rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 1, float("nan"), [1])], "query 0 has label 1 and confidence nan, expected"),
        ([("b", 1, float("-inf"), [])], "query 0 has label 1 and confidence -inf"),
        ([("a", -2, 0.5, [1])], "query 0 has label -2"),
        ([("a", 1, 0.5, [-1])], "query 'a' has the true label -1"),
        ([("a", 1, 0.5, [1]), ("a", 1, 0.5, [1])], "query id 'a' is empty or repeated"),
        ([("", 1, 0.5, [1])], "query id '' is empty"),
    ],
)
def test_rows_that_cannot_be_ranked_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        of(rows)


def test_arrays_of_the_wrong_form_are_refused() -> None:
    label, half, truths = np.array([1]), np.array([0.5]), (frozenset({1}),)
    with pytest.raises(ValueError, match=r"labels have dtype float64"):
        Answers(np.array([1.0]), half, ("a",), truths)
    with pytest.raises(ValueError, match=r"labels \(1,\) and confidences \(2,\)"):
        Answers(label, np.zeros(2), ("a",), truths)
    with pytest.raises(ValueError, match="1 query ids and 0 truths for 1 answers"):
        Answers(label, half, ("a",), ())
    with pytest.raises(ValueError, match=r"level 1.5 must lie in \(0, 1\)"):
        module.bootstrap_interval(of(DELF), level=1.5)


def test_answers_keep_their_own_copy_of_the_arrays() -> None:
    confidence = np.array([0.5])
    answers = Answers(np.array([1]), confidence, ("a",), (frozenset({1}),))
    confidence[0] = 9
    assert answers.confidences[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        answers.confidences[0] = 9
