"""ERUS: capped samples of large classes, the same variants of small ones in every set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embed.balance import cap_classes, draw_set, erus_sets, keep_large_classes
from embed.train_settings import BalanceSettings
from embed.upsampling import Examples

SIZES = (3, 10, 59, 60, 61, 120, 400)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SIZES)), SIZES))


def label_arrays() -> st.SearchStrategy[NDArray[np.int64]]:
    values = st.lists(st.integers(0, 4), min_size=1, max_size=60)
    return values.map(lambda drawn: np.array(drawn, dtype=np.int64))


def sets(**changes: int) -> tuple[Examples, ...]:
    given = {"sets": 3, "cap": 120, "upsample_to": 60, "min_count": 10, "seed": 0} | changes
    return erus_sets(LABELS, **given)


@given(label_arrays(), st.integers(0, 12))
def test_small_classes_are_left_out(labels: NDArray[np.int64], least: int) -> None:
    expected = [row for row, label in enumerate(labels) if (labels == label).sum() >= least]
    assert keep_large_classes(labels, least).tolist() == expected


@given(label_arrays(), st.integers(0, 12), st.integers(0, 4), st.integers(0, 3))
def test_a_sample_has_the_cap_of_each_class(
    labels: NDArray[np.int64], cap: int, number: int, seed: int
) -> None:
    rows = cap_classes(labels, cap, number, seed)
    assert (np.diff(rows) > 0).all()
    for label in np.unique(labels):
        size = (labels == label).sum()
        assert (labels[rows] == label).sum() == (min(size, cap) if cap else size)


@given(label_arrays(), st.integers(1, 12), st.integers(1, 6))
def test_an_image_is_used_again_only_after_all_others_of_its_class(
    labels: NDArray[np.int64], cap: int, count: int
) -> None:
    drawn = np.concatenate([cap_classes(labels, cap, number, 0) for number in range(count)])
    times = np.bincount(drawn, minlength=len(labels))
    for label in np.unique(labels):
        assert np.ptp(times[labels == label]) <= 1


def test_the_sets_of_the_report() -> None:
    made = sets()
    for one in made:
        counts = np.bincount(LABELS[one.rows], minlength=len(SIZES))
        assert counts.tolist() == [0, 60, 60, 60, 61, 120, 120]
    small = np.isin(LABELS, (1, 2))
    for one in made[1:]:  # the same upsampled images, other samples of the large classes
        for part in ("rows", "variants"):
            first, other = (getattr(s, part)[small[s.rows]] for s in (made[0], one))
            np.testing.assert_array_equal(first, other)
    large = [set(one.rows[LABELS[one.rows] == 6].tolist()) for one in made]
    assert sum(map(len, large)) == len(set.union(*large)) == 360


def test_sets_depend_on_the_seed_and_not_on_how_many_there_are() -> None:
    assert sets()[0].rows.tolist() == sets(sets=1)[0].rows.tolist()
    assert sets()[0].rows.tolist() != sets(seed=1)[0].rows.tolist()


def test_a_set_of_a_number_is_the_one_of_the_ensemble() -> None:
    third = draw_set(LABELS, cap=60, upsample_to=20, set_number=2, seed=4)
    expected = sets(cap=60, upsample_to=20, min_count=0, seed=4)[2]
    np.testing.assert_array_equal(third.rows, expected.rows)
    np.testing.assert_array_equal(third.variants, expected.variants)


def test_switched_off_all_images_stay_as_they_are() -> None:
    for one in sets(cap=0, upsample_to=0, min_count=0):
        assert one.rows.tolist() == list(range(len(LABELS))) and not one.variants.any()


def test_classes_filled_up_above_the_cap_are_refused() -> None:
    with pytest.raises(ValueError, match="upsample_to 60 > cap 50"):
        sets(cap=50)
    with pytest.raises(ValueError, match="upsample_to 60 > cap 50: small classes would end larger"):
        BalanceSettings(cap=50, upsample_to=60)
    with pytest.raises(ValueError, match="set_number 1 without a cap"):
        BalanceSettings(set_number=1)
