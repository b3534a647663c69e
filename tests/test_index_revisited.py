"""The figures of revisited Oxford and Paris, against a slow version of their definition."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.revisited import (
    SETUPS,
    Ints,
    Relevance,
    average_precision,
    precision_at_k,
    score_rankings,
)


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def make(easy: Sequence[int] = (), hard: Sequence[int] = (), junk: Sequence[int] = ()) -> Relevance:
    return Relevance(ints(*easy), ints(*hard), ints(*junk))


def slow_figures(
    ranked: Sequence[int], positives: set[int], junk: set[int], ks: Sequence[int]
) -> list[float]:
    """Walk down one ranking image by image; return AP and the precisions."""
    area, found, seen, last = 0.0, 0, 0, 0
    correct: list[bool] = []
    for image in ranked:
        if image in junk:
            continue
        if image in positives:
            before = found / seen if seen else 1.0
            after = (found + 1) / (seen + 1)
            area += (before + after) / 2 / len(positives)
            found += 1
            last = seen + 1
        correct.append(image in positives)
        seen += 1
    precisions = []
    for k in ks:
        depth = min(last, k)
        precisions.append(sum(correct[:depth]) / depth if depth else 0.0)
    return [area, *precisions]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Ints], list[Relevance]]:
    """Some queries of a small database: rankings, some of them cut short, and truths."""
    size = draw(st.integers(1, 12))
    rankings, truths = [], []
    for _ in range(draw(st.integers(0, 4))):
        ranked = draw(st.permutations(range(size)))
        rankings.append(ints(*ranked[: draw(st.integers(0, size))]))
        levels = draw(st.lists(st.sampled_from("nehj"), min_size=size, max_size=size))
        truths.append(make(*([i for i, at in enumerate(levels) if at == name] for name in "ehj")))
    return rankings, truths


@given(cases(), st.lists(st.integers(1, 15), max_size=3))
def test_the_figures_are_those_of_the_definition(
    case: tuple[list[Ints], list[Relevance]], ks: list[int]
) -> None:
    rankings, truths = case
    scores = score_rankings(rankings, truths, ks)
    for name, (wanted, ignored) in SETUPS.items():
        expected = [
            slow_figures(
                ranked.tolist(),
                set(truth.gather(wanted).tolist()),
                set(truth.gather(ignored).tolist()),
                ks,
            )
            for ranked, truth in zip(rankings, truths, strict=True)
            if len(truth.gather(wanted))
        ]
        found = scores[name]
        assert found.queries == len(expected)
        if not expected:
            assert found.mean_average_precision is None
            assert set(found.mean_precision.values()) <= {None}
            continue
        means = np.mean(expected, axis=0)
        assert found.mean_average_precision == pytest.approx(means[0])
        assert [found.mean_precision[k] for k in ks] == pytest.approx(means[1:].tolist())


def test_easy_medium_and_hard_by_hand() -> None:
    """Ranked: junk 4, hard 0, wrong 5, easy 1, wrong 6, easy 2."""
    truth = make(easy=[1, 2], hard=[0], junk=[4])
    scores = score_rankings([ints(4, 0, 5, 1, 6, 2)], [truth], [1, 3, 10])
    easy, medium, hard = (scores[name] for name in ("easy", "medium", "hard"))
    # Left: 5 1 6 2. Found at 1 and 3.
    assert easy.mean_average_precision == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert list(easy.mean_precision.values()) == pytest.approx([0, 1 / 3, 2 / 4])
    # Left: 0 5 1 6 2. Found at 0, 2 and 4.
    area = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2 + (2 / 4 + 3 / 5) / 2) / 3
    assert medium.mean_average_precision == pytest.approx(area)
    assert list(medium.mean_precision.values()) == pytest.approx([1, 2 / 3, 3 / 5])
    # Left: 0 5 6. Found at 0, and no further is looked.
    assert hard.mean_average_precision == 1
    assert list(hard.mean_precision.values()) == [1, 1, 1]


def test_a_perfect_ranking_is_1_and_junk_before_it_costs_nothing() -> None:
    truth = make(easy=[3, 1], hard=[2], junk=[5, 6])
    for ranked in (ints(3, 1, 2, 4, 5, 6), ints(6, 3, 5, 1, 2, 4)):
        scores = score_rankings([ranked], [truth])
        assert scores["medium"].mean_average_precision == 1
        assert set(scores["medium"].mean_precision.values()) == {1.0}


def test_queries_with_nothing_to_find_are_left_out_setup_by_setup() -> None:
    truths = [make(easy=[0]), make(hard=[0]), make(junk=[0])]
    scores = score_rankings([ints(0, 1)] * 3, truths)
    assert [scores[name].queries for name in ("easy", "medium", "hard")] == [1, 2, 1]


def test_an_image_that_could_not_be_read_is_never_found() -> None:
    scores = score_rankings([ints(0, 3)], [make(easy=[0, 9])], [5])
    assert scores["easy"].mean_average_precision == 0.5
    unread_query = score_rankings([ints()], [make(easy=[0])], [5])["easy"]
    assert (unread_query.mean_average_precision, unread_query.mean_precision) == (0, {5: 0})


@pytest.mark.parametrize("count", [1, 2, 50])
def test_the_area_of_the_last_places(count: int) -> None:
    """All positives at the very end of a ranking of 100."""
    positions = np.arange(100 - count, 100)
    expected = sum(
        (found / place + (found + 1) / (place + 1)) / 2 for found, place in enumerate(positions)
    )
    assert average_precision(positions, count) == pytest.approx(expected / count)
    assert precision_at_k(positions, 100) == pytest.approx(count / 100)
    assert precision_at_k(positions, 100 - count) == 0


def test_no_queries_have_no_figures() -> None:
    assert {found.mean_average_precision for found in score_rankings([], []).values()} == {None}


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"easy": [1], "junk": [1]}, "image 1 is easy and junk; it can be one of them"),
        ({"hard": [2, 2]}, "hard names an image twice"),
    ],
)
def test_truths_that_contradict_themselves_are_refused(
    levels: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**levels)


def test_odd_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"easy has shape \(1, 1\) and dtype int64"):
        Relevance(np.zeros((1, 1), dtype=np.int64), ints(), ints())
    with pytest.raises(ValueError, match="dtype float64"):
        Relevance(ints(), np.zeros(1), ints())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ranking names an image twice"):
        score_rankings([ints(1, 1)], [make(easy=[1])])
    with pytest.raises(ValueError, match="asked for at 0; the first rank is 1"):
        score_rankings([ints(1)], [make(easy=[1])], [0])
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
        score_rankings([ints(1)], [])
