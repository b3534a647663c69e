"""Algorithm 1: small classes are filled up to exactly so many different variants."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from embed.augmented_files import AugmentedFiles
from embed.decode import decode_image
from embed.failure import Failure
from embed.settings import MAX_VARIANTS
from embed.train_settings import AugmentSettings
from embed.upsampling import Examples, upsample
from embed.variants import BRIGHTER, CROP_AREA, DARKER, ROUND, SUBSETS, make_variant
from embed.variants import TRANSFORMS as NAMES
from tests.images import encode, photo

NUMBER = {name: 1 << bit for bit, name in enumerate(NAMES)}


def label_arrays() -> st.SearchStrategy[NDArray[np.int64]]:
    values = st.lists(st.integers(0, 5), min_size=1, max_size=80)
    return values.map(lambda drawn: np.array(drawn, dtype=np.int64))


@given(label_arrays(), st.integers(0, MAX_VARIANTS), st.integers(0, 9))
def test_small_classes_get_exactly_the_target_and_counts_differ_by_one(
    labels: NDArray[np.int64], target: int, seed: int
) -> None:
    made = upsample(labels, target, seed)
    per_image = np.bincount(made.rows, minlength=len(labels))
    for label in np.unique(labels):
        counts = per_image[labels == label]
        size = len(counts)
        assert counts.sum() == max(target, size)
        if size < target:
            assert sorted(counts) == sorted(  # (target mod n) images one more
                target // size + (place < target % size) for place in range(size)
            )
    assert (np.diff(made.rows) >= 0).all()


@given(label_arrays(), st.integers(2, MAX_VARIANTS), st.integers(0, 9))
def test_an_image_has_itself_once_and_no_set_again_before_all_were_used(
    labels: NDArray[np.int64], target: int, seed: int
) -> None:
    made = upsample(labels, target, seed)
    for row in range(len(labels)):
        variants = made.variants[made.rows == row].tolist()
        assert variants[0] == 0 and len(set(variants)) == len(variants)
        subsets, rounds = np.array(variants[1:]) % ROUND, np.array(variants[1:]) // ROUND
        assert (subsets != 0).all()
        assert rounds.tolist() == [place // SUBSETS for place in range(len(subsets))]


def test_one_image_can_fill_up_the_largest_target() -> None:
    made = upsample(np.zeros(1, dtype=np.int64), MAX_VARIANTS, 0)
    assert len(set(made.variants.tolist())) == len(made) == MAX_VARIANTS
    with pytest.raises(ValueError, match="target 250: an image has at most 249 variants"):
        upsample(np.zeros(1, dtype=np.int64), MAX_VARIANTS + 1, 0)


def test_sets_and_extra_images_are_drawn_evenly_by_the_seed() -> None:
    labels = np.repeat(np.arange(300), 4)
    made, again, other = (upsample(labels, 6, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(made.rows, again.rows)
    np.testing.assert_array_equal(made.variants, again.variants)
    assert not np.array_equal(made.variants, other.variants)
    assert not np.array_equal(made.rows, other.rows)
    counts = np.bincount(made.variants[made.variants > 0], minlength=ROUND)[1:]
    assert counts.min() > 5 and counts.max() < 45  # 600 variants, 19 of each set expected
    extra = (np.bincount(made.rows) == 2).reshape(-1, 4).sum(axis=0)
    assert extra.min() > 110  # of each place 150 expected


@pytest.mark.parametrize("target", [0, 1])
def test_no_target_changes_nothing(target: int) -> None:
    made = upsample(np.repeat(np.arange(3), 2), target, 0)
    assert made.rows.tolist() == list(range(6)) and not made.variants.any()
    assert len(upsample(np.zeros(0, dtype=np.int64), 60, 0)) == 0


def test_examples_have_a_variant_for_each_row() -> None:
    with pytest.raises(ValueError, match=r"rows \(3,\) and variants \(2,\)"):
        Examples(np.arange(3), np.zeros(2, dtype=np.uint8))


IMAGE = photo(60, 80)


def make(*names: str, round_: int = 0, image_id: str = "a", seed: int = 0) -> NDArray[np.uint8]:
    variant = sum(NUMBER[name] for name in names) + ROUND * round_
    return make_variant(IMAGE, variant, image_id, seed)


def test_variant_0_is_the_image_and_the_image_is_left_alone() -> None:
    before = IMAGE.copy()
    np.testing.assert_array_equal(make_variant(IMAGE, 0, "a", 0), IMAGE)
    make(*NAMES)
    np.testing.assert_array_equal(IMAGE, before)


def test_each_transform_does_what_its_name_says() -> None:
    np.testing.assert_array_equal(make("mirror"), IMAGE[:, ::-1])
    grey = make("grey")
    assert (grey == grey[..., :1]).all()
    weights = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(grey[..., 0], IMAGE @ weights, atol=1)
    for name, (low, high) in (("brighter", BRIGHTER), ("darker", DARKER)):
        dark = IMAGE < 150  # not clipped
        factors = make(name)[dark] / np.maximum(IMAGE[dark], 1)
        assert low - 0.02 <= np.median(factors) <= high + 0.02
    crop = make("crop")
    area = crop.shape[0] * crop.shape[1] / (60 * 80)
    assert CROP_AREA[0] - 0.03 <= area <= CROP_AREA[1] + 0.03
    assert abs(crop.shape[1] / crop.shape[0] - 80 / 60) < 0.05
    windows = np.lib.stride_tricks.sliding_window_view(IMAGE[..., 0], crop.shape[:2])
    assert (windows == crop[..., 0]).all(axis=(2, 3)).sum() == 1  # pixels as they are


def test_all_sets_of_transforms_are_different() -> None:
    seen = {make_variant(IMAGE, subset, "a", 0).tobytes() for subset in range(ROUND)}
    assert len(seen) == ROUND


def test_parameters_depend_on_seed_id_and_round() -> None:
    crop = make("crop", "brighter").tobytes()
    assert make("crop", "brighter").tobytes() == crop
    assert make("crop", "brighter", seed=1).tobytes() != crop
    assert make("crop", "brighter", image_id="b").tobytes() != crop
    assert make("crop", "brighter", round_=1).tobytes() != crop


def test_a_variant_of_a_smaller_decoding_is_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(photo(480, 640), "JPEG", quality=95))
    full, small = decode_image(path).pixels, decode_image(path, min_side=200).pixels
    assert small.shape == (240, 320, 3)
    for variant in (SUBSETS, NUMBER["crop"]):
        other = make_variant(small, variant, "a", 0)
        assert likeness(make_variant(full, variant, "a", 0), other) > 0.95
        assert likeness(make_variant(full, variant + ROUND, "a", 0), other) < 0.9  # other window


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the correlation of two pictures, the first shrunk to the size of the second."""
    size = (other.shape[1], other.shape[0])
    shrunk = np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX))
    return float(np.corrcoef(shrunk.ravel(), other.ravel())[0, 1])


def test_the_loader_gives_the_variant_that_would_be_written(tmp_path: Path) -> None:
    paths = [tmp_path / "one.png", tmp_path / "two.png", tmp_path / "none.png"]
    for number, path in enumerate(paths[:2]):
        Image.fromarray(photo(40, 40, seed=number)).save(path)
    examples = Examples(np.array([0, 1, 1, 2]), np.array([0, 4, 2, 7], dtype=np.uint8))
    plain = AugmentSettings.model_validate({"preset": "none"})
    files = AugmentedFiles(
        paths, 40, 10_000, plain, 3, examples=examples, ids=("one", "two", "none")
    )
    assert len(files) == 4
    for position, variant in ((0, 0), (1, 4), (2, 2)):
        item = files[position, 5, 17]
        assert not isinstance(item, Failure) and item[0] == position
        row = int(examples.rows[position])
        expected = make_variant(photo(40, 40, seed=row), variant, ("one", "two")[row], 3)
        np.testing.assert_array_equal(item[1].permute(1, 2, 0).numpy(), expected)
    failure = files[3, 0, 0]
    assert isinstance(failure, Failure) and failure.position == 2  # the file, not the example
