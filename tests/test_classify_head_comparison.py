"""The paired bootstrap against one that copies rows, sorts them again and scores each anew."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify_head.answers import Answers
from classify_head.comparison import Comparison, compare_answers
from classify_head.gap import bootstrap_interval, gap

Row = tuple[str, int, float, list[int]]


def table(size: int, seed: int, *, skill: float = 0.6) -> list[Row]:
    """Return rows of two labels; half the queries are distractors, and many scores tie.

    The truths depend on the size alone, so that tables of one size can be compared.
    """
    landmark = np.random.default_rng(0).random(size) < 0.5
    landmark[0] = True
    generator = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(size):
        right = bool(generator.random() < skill)
        score = round(float(generator.random()) + 0.3 * right, 1)
        rows.append((f"q{number:03}", 1 if right else 2, score, [1] if landmark[number] else []))
    return rows


def slow_differences(a: list[Row], b: list[Row], samples: int, seed: int) -> list[float]:
    """Draw rows of tables sorted by id, copy them under ids that sort like the originals."""
    generator, differences = np.random.default_rng(seed), []
    for _ in range(samples):
        drawn = generator.integers(len(a), size=len(a))
        copies = [[(f"{r[n][0]}+{k:03}", *r[n][1:]) for k, n in enumerate(drawn)] for r in (a, b)]
        values = [gap(Answers.from_rows(rows)) for rows in copies]
        differences.append(values[1] - values[0])
    return differences


def of(rows: list[Row]) -> Answers:
    return Answers.from_rows(rows)


def test_the_comparison_equals_a_naive_loop_over_the_same_draws() -> None:
    a, b = table(40, seed=1), table(40, seed=2, skill=0.7)
    differences = slow_differences(a, b, samples=60, seed=5)
    found = compare_answers(of(a), of(b), level=0.9, samples=60, seed=5)
    assert found.difference == pytest.approx(gap(of(b)) - gap(of(a)))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, [0.05, 0.95])))
    assert found.share_better == np.mean(np.array(differences) > 1e-12)


@given(st.integers(1, 30), st.integers(0, 99), st.randoms())
@settings(max_examples=30)
def test_equal_answers_in_any_row_order_differ_by_nothing(
    size: int, seed: int, random: Random
) -> None:
    rows = table(size, seed)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    found = compare_answers(of(rows), of(shuffled), samples=20)
    assert found == Comparison(0.0, 0.0, 0.0, 0.0, (), ())


@given(st.integers(0, 99), st.randoms())
@settings(max_examples=20)
def test_row_order_and_increasing_maps_of_the_confidence_change_nothing(
    seed: int, random: Random
) -> None:
    a, b = table(20, seed), table(20, seed + 1)
    mapped: list[Row] = [(i, label, float(np.exp(score)), truth) for i, label, score, truth in b]
    random.shuffle(mapped)
    assert compare_answers(of(a), of(b), samples=20) == compare_answers(
        of(a), of(mapped), samples=20
    )


def test_swapping_the_answers_mirrors_every_figure() -> None:
    a, b = of(table(50, seed=3)), of(table(50, seed=4))
    there, back = (compare_answers(x, y, samples=101) for x, y in ((a, b), (b, a)))
    assert (there.difference, there.low, there.high) == pytest.approx(
        (-back.difference, -back.high, -back.low)
    )
    assert there.share_better + back.share_better == pytest.approx(1)
    assert (there.became_right, there.became_wrong) == (back.became_wrong, back.became_right)


def test_the_pairs_tell_what_two_intervals_cannot() -> None:
    a = table(400, seed=6)
    # The same answers, but three in four of the wrong answers given to distractors are withheld.
    b: list[Row] = [
        row if row[3] or row[1] == 1 or n % 4 == 0 else (row[0], -1, 0.0, row[3])
        for n, row in enumerate(a)
    ]
    found = compare_answers(of(a), of(b), samples=300)
    assert 0 < found.low < found.difference < found.high
    assert found.share_better == 1
    assert found.became_right == found.became_wrong == ()
    assert bootstrap_interval(of(b), samples=300)[0] < bootstrap_interval(of(a), samples=300)[1]


def test_changed_queries_are_listed_by_what_became_of_them() -> None:
    a: list[Row] = [
        ("e", 1, 0.9, [1]),
        ("d", 1, 0.8, [1, 2]),
        ("c", 3, 0.7, [1]),
        ("b", -1, 0.0, [1]),
        ("a", 1, 0.5, []),
    ]
    labels = {"e": 5, "d": 2, "c": 1, "b": 1, "a": -1}
    b: list[Row] = [(i, labels[i], score, truth) for i, _, score, truth in a]
    found = compare_answers(of(a), of(b), samples=10)
    assert found.became_wrong == ("e",)
    assert found.became_right == ("b", "c")


def test_the_seed_alone_decides_the_draws() -> None:
    a, b = of(table(30, seed=7)), of(table(30, seed=8))
    assert compare_answers(a, b, samples=50) == compare_answers(a, b, samples=50)
    assert compare_answers(a, b, samples=50).low != compare_answers(a, b, samples=50, seed=1).low


def test_equal_gaps_of_other_answers_are_not_taken_for_better() -> None:
    # The two runs swap the ranks of right answers, so precisions are summed in another order.
    a: list[Row] = [(f"q{n:02}", 1, float(n), [1]) for n in range(20)]
    b: list[Row] = [(i, 1, -score, truth) for i, _, score, truth in a]
    wrong: Row = ("z", 1, 99.0, [])
    found = compare_answers(of([*a, wrong]), of([*b, wrong]), samples=200)
    assert found.share_better == 0
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)


def test_one_query_is_enough() -> None:
    found = compare_answers(of([("a", 2, 0.5, [1])]), of([("a", 1, 0.5, [1])]), samples=5)
    assert found == Comparison(1.0, 1.0, 1.0, 1.0, (), ("a",))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (["p", "q"], ["p"], "1 queries are in a, not in b: 'q'; compare answers to the same"),
        (["p"], ["p", "s", "r"], "2 queries are in b, not in a: 'r', 's'"),
        (list("abcde"), ["x"], r"5 queries are in a, not in b: 'a', 'b', 'c', \.\.\."),
        ([], ["x"], "1 queries are in b"),
    ],
)
def test_different_queries_are_refused(a: list[str], b: list[str], message: str) -> None:
    first, second = (of([(i, 1, 0.5, [1]) for i in ids]) for ids in (a, b))
    with pytest.raises(ValueError, match=message):
        compare_answers(first, second)


def test_different_truths_are_refused() -> None:
    a = of([("p", 1, 0.5, [1]), ("q", 1, 0.5, [1])])
    b = of([("q", 1, 0.5, []), ("p", 1, 0.5, [1])])
    with pytest.raises(ValueError, match="the truths of 1 queries differ: 'q'"):
        compare_answers(a, b)


def test_settings_out_of_range_are_refused() -> None:
    answers = of([("a", 1, 0.5, [1])])
    with pytest.raises(ValueError, match="level 1 must lie"):
        compare_answers(answers, answers, level=1, samples=2)
    with pytest.raises(ValueError, match="samples is 0"):
        compare_answers(answers, answers, samples=0)


@pytest.mark.parametrize("rows", [[], [("a", 1, 0.5, [])]])
def test_without_a_landmark_there_is_no_gap_to_compare(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match="shows a landmark"):
        compare_answers(of(rows), of(rows))


def test_impossible_figures_are_refused() -> None:
    with pytest.raises(ValueError, match="expected low <= high"):
        Comparison(0.0, 0.1, -0.1, 0.5, (), ())
