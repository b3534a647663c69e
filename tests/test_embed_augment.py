"""Training images: their random changes depend on seed, epoch and place in the epoch alone."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import v2

from embed.augment import AugmentedFiles, build_augmentation
from embed.decode import decode_image
from embed.failure import Failure
from embed.presets import PRESETS
from embed.train_settings import AugmentSettings
from tests.images import photo

STRONG = AugmentSettings(mirror=0.5, blur=0.5, grey=0.5, erase=0.5)
OFF = AugmentSettings(
    crop_min_area=1,
    crop_max_aspect=1,
    rotation=0,
    perspective=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    grey=0,
    blur=0,
    erase=0,
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write two images and one file that is none."""
    folder = tmp_path_factory.mktemp("images")
    for number, shape in enumerate([(48, 48), (40, 64)]):
        Image.fromarray(photo(*shape, seed=number)).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no image")
    return [folder / f"{number}.png" for number in range(3)]


def dataset(paths: list[Path], augment: AugmentSettings = STRONG, seed: int = 0) -> AugmentedFiles:
    return AugmentedFiles(paths, 32, 10_000, augment, seed)


def pixels(files: AugmentedFiles, *key: int) -> torch.Tensor:
    position, epoch, place = key
    item = files[position, epoch, place]
    assert not isinstance(item, Failure) and item[0] == position
    return item[1]


@pytest.mark.parametrize("augment", [STRONG, AugmentSettings(), OFF])
@pytest.mark.parametrize("position", [0, 1])
def test_items_are_squares_of_bytes(
    paths: list[Path], augment: AugmentSettings, position: int
) -> None:
    for place in range(8):
        changed = pixels(dataset(paths, augment), position, 0, place)
        assert changed.shape == (3, 32, 32) and changed.dtype == torch.uint8


def test_an_item_depends_neither_on_the_order_nor_on_global_generators(paths: list[Path]) -> None:
    keys = [(position, epoch, place) for position in (0, 1) for epoch in (0, 1) for place in (3, 4)]
    files = dataset(paths)
    expected = {key: pixels(files, *key) for key in keys}
    files = dataset(paths)
    for number, key in enumerate(reversed(keys)):
        torch.manual_seed(number)
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 - the global generator must have no say
        assert torch.equal(pixels(files, *key), expected[key])


def test_seed_epoch_and_place_each_change_the_item(paths: list[Path]) -> None:
    base = pixels(dataset(paths), 0, 0, 0)
    assert not torch.equal(pixels(dataset(paths), 0, 0, 1), base)
    assert not torch.equal(pixels(dataset(paths), 0, 1, 0), base)
    assert not torch.equal(pixels(dataset(paths, seed=1), 0, 0, 0), base)
    # Seeds that are mixed by adding or by chaining would meet here.
    assert not torch.equal(pixels(dataset(paths), 0, 1, 2), pixels(dataset(paths), 0, 2, 1))


def test_global_generators_are_left_alone(paths: list[Path]) -> None:
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), numpys["state"]["key"].copy()
    for place in range(4):
        pixels(dataset(paths), 0, 0, place)
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(numpys["state"]["key"], before[2])


def test_an_unreadable_file_is_a_failure_with_its_reason(paths: list[Path]) -> None:
    item = dataset(paths)[2, 0, 0]
    assert isinstance(item, Failure)
    assert (item.position, item.reason) == (2, "not_an_image")
    assert "2.png" in item.message


def test_a_missing_file_and_a_large_one_are_failures(paths: list[Path]) -> None:
    files = AugmentedFiles([paths[0].with_name("gone.png"), paths[0]], 32, 100, STRONG, 0)
    reasons = [item.reason for p in (0, 1) if isinstance(item := files[p, 0, 0], Failure)]
    assert reasons == ["missing", "too_large"]


def test_switched_off_the_whole_square_is_only_resized(paths: list[Path]) -> None:
    stored = torch.from_numpy(decode_image(paths[0]).pixels).permute(2, 0, 1)
    expected = v2.functional.resize(stored, [32, 32], antialias=True)
    for place in range(5):
        assert torch.equal(pixels(dataset(paths, OFF), 0, 0, place), expected)


def test_every_change_does_something_of_its_own(paths: list[Path]) -> None:
    plain = pixels(dataset(paths, OFF), 0, 0, 0)
    for name, value in {
        "crop_min_area": 0.2,
        "mirror": 1.0,
        "rotation": 90.0,
        "perspective": 0.5,
        "brightness": 0.5,
        "contrast": 0.5,
        "saturation": 0.5,
        "hue": 0.5,
        "grey": 1.0,
        "blur": 1.0,
        "erase": 1.0,
        "shift": 0.2,
        "scale": 0.3,
        "shear": 20.0,
        "jpeg": 1.0,
    }.items():
        changed = OFF.model_copy(update={name: value})
        items = [pixels(dataset(paths, changed), 0, 0, place) for place in range(6)]
        assert any(not torch.equal(item, plain) for item in items), name


# Made at commit ae21dd9 by the lines of the test.
PINNED = {
    AugmentSettings(): "467561b08ba99ee9203eeab6f56b41b3c8227c14e8ff02d65a4352df06cba58a",
    STRONG: "4e83274efc14b8c1f3fb80dca676b4eaff21259ef7835372f95f4e2e1d9576c1",
}


@pytest.mark.parametrize("augment", PINNED, ids=["default", "strong"])
def test_changes_that_are_off_leave_those_of_older_models_as_they_were(
    paths: list[Path], augment: AugmentSettings
) -> None:
    digest = hashlib.sha256()
    for place in range(8):
        digest.update(pixels(dataset(paths, augment), 0, 0, place).numpy().tobytes())
    assert digest.hexdigest() == PINNED[augment]


def test_a_preset_is_the_base_of_what_is_named_beside_it() -> None:
    made = AugmentSettings.model_validate({"preset": "torino", "mirror": 0.5})
    assert (made.rotation, made.mirror, made.erase) == (20.0, 0.5, 0.0)
    assert AugmentSettings.model_validate({"preset": "torino", "rotation": 0.0}).rotation == 0
    none = AugmentSettings.model_validate({"preset": "none", "crop": "random"})
    assert none.model_dump() == OFF.model_dump()
    assert AugmentSettings.model_validate({"preset": "default"}) == AugmentSettings()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_recorded_by_its_values(paths: list[Path], name: str) -> None:
    made = AugmentSettings.model_validate({"preset": name})
    recorded = AugmentSettings.model_validate(made.model_dump())
    assert recorded.model_dump() == made.model_dump()
    for position in (0, 1):
        changed = [pixels(dataset(paths, s), position, 0, 3) for s in (made, recorded)]
        assert torch.equal(*changed) and changed[0].shape == (3, 32, 32)


def test_an_unknown_preset_is_told_from_a_close_one() -> None:
    with pytest.raises(ValidationError, match="unknown preset 'torno'; did you mean 'torino'"):
        AugmentSettings.model_validate({"preset": "torno"})
    with pytest.raises(ValidationError, match="there are default, none, torino"):
        AugmentSettings.model_validate({"preset": "?"})
    with pytest.raises(ValidationError, match="valid string"):
        AugmentSettings.model_validate({"preset": 3})


def test_a_centre_crop_is_the_share_of_the_middle_square() -> None:
    image = torch.arange(3 * 40 * 64).reshape(3, 40, 64).remainder(251).to(torch.uint8)
    centre = OFF.model_copy(update={"crop": "centre", "crop_min_area": 0.25})
    assert torch.equal(build_augmentation(centre, 20)(image), image[:, 10:30, 22:42])
    whole = OFF.model_copy(update={"crop": "centre"})
    assert torch.equal(build_augmentation(whole, 40)(image), image[:, :, 12:52])


def test_without_a_crop_the_whole_image_is_squeezed_into_the_square() -> None:
    image = torch.from_numpy(photo(40, 64)).permute(2, 0, 1)
    none = AugmentSettings.model_validate({"preset": "none"})
    expected = v2.functional.resize(image, [32, 32], antialias=True)
    assert torch.equal(build_augmentation(none, 32)(image), expected)


def test_jpeg_loses_detail_and_no_more() -> None:
    image = torch.from_numpy(photo(64, 64)).permute(2, 0, 1)
    lossy = OFF.model_copy(update={"jpeg": 1.0})
    difference = (build_augmentation(lossy, 64)(image).int() - image.int()).abs().float().mean()
    assert 0 < difference < 12
