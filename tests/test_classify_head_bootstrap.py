"""Resampling with replacement: what is drawn, what is drawn again, and the interval."""

import numpy as np
import pytest

from classify_head.bootstrap import draw_counts, percentile_interval


def test_draws_are_those_of_numpy_and_depend_on_the_seed_alone() -> None:
    generator = np.random.default_rng(3)
    expected = [np.bincount(generator.integers(7, size=7), minlength=7) for _ in range(4)]
    found = list(draw_counts(np.ones(7, bool), samples=4, seed=3))
    assert np.array_equal(found, expected)


def test_every_resample_has_all_its_rows_and_a_needed_one() -> None:
    needed = np.arange(6) == 2  # a third of the resamples lacks it
    found = np.array(list(draw_counts(needed, samples=50, seed=0)))
    assert found.shape == (50, 6)
    assert (found.sum(axis=1) == 6).all()
    assert (found[:, 2] > 0).all()


def test_the_interval_of_a_mean_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(size=400)
    draws = draw_counts(np.ones(400, bool), samples=2000, seed=0)
    low, high = percentile_interval([counts @ values / 400 for counts in draws], 0.95)
    error = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == pytest.approx(
        (values.mean() - error, values.mean() + error), abs=0.1 * error
    )


def test_one_value_is_its_own_interval() -> None:
    assert percentile_interval([0.25], 0.5) == (0.25, 0.25)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, float("nan")])
def test_levels_outside_0_and_1_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        percentile_interval([0.0, 1.0], level)


@pytest.mark.parametrize(
    ("needed", "samples", "message"),
    [
        ([], 1, "none of the 0 rows"),
        ([False], 1, "none of the 1 rows"),
        ([True], 0, "samples is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(
    needed: list[bool], samples: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_counts(np.array(needed, bool), samples=samples, seed=0)
