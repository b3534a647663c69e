"""Training images: their random changes depend on seed, epoch and place in the epoch alone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import v2

from embed.augment import Augmentation
from embed.augmented_files import AugmentedFiles
from embed.decode import decode_image
from embed.failure import Failure
from embed.presets import PRESETS
from embed.train_settings import AugmentSettings
from embed.transforms import resize_image
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
    # 48 pixels, of which training takes 40 and more.
    stored = resize_image(decode_image(paths[0]).pixels, 40)
    expected = torch.from_numpy(resize_image(stored, 32)).permute(2, 0, 1)
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


IMAGE = photo(96, 120, seed=3)


def change(augment: AugmentSettings, place: int, side: int = 64) -> NDArray[np.uint8]:
    return Augmentation(augment, side)(IMAGE, np.random.default_rng(place))


def erased_part(augment: AugmentSettings, place: int) -> tuple[int, ...]:
    with_, without = (
        change(augment.model_copy(update={"erase": erase}), place) for erase in (1.0, 0.0)
    )
    rows, columns = (with_ != without).any(axis=2).nonzero()
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@pytest.mark.parametrize(
    "other",
    [{"crop": "none"}, {"mirror": 1.0}, {"rotation": 0.0}, {"hue": 0.0}, {"blur": 0.0}],
    ids=str,
)
def test_a_change_that_is_off_leaves_the_draws_of_the_others(other: dict[str, float]) -> None:
    for place in range(6):
        without = STRONG.model_copy(update=other)
        assert erased_part(without, place) == erased_part(STRONG, place)


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
    image = (np.arange(3 * 40 * 64).reshape(40, 64, 3) % 251).astype(np.uint8)
    generator = np.random.default_rng(0)
    centre = OFF.model_copy(update={"crop": "centre", "crop_min_area": 0.25})
    found = Augmentation(centre, 20)(image, generator)
    np.testing.assert_array_equal(found, image[10:30, 22:42])
    whole = OFF.model_copy(update={"crop": "centre"})
    np.testing.assert_array_equal(Augmentation(whole, 40)(image, generator), image[:, 12:52])


def test_without_a_crop_the_whole_image_is_squeezed_as_for_inference() -> None:
    none = AugmentSettings.model_validate({"preset": "none"})
    np.testing.assert_array_equal(change(none, 0), resize_image(IMAGE, 64))


def test_jpeg_loses_detail_and_no_more() -> None:
    lossy = OFF.model_copy(update={"crop": "none", "jpeg": 1.0})
    difference = np.abs(change(lossy, 0).astype(int) - resize_image(IMAGE, 64)).mean()
    assert 0 < difference < 12


def test_random_crops_keep_the_share_and_stretch_that_settings_name() -> None:
    augment = Augmentation(OFF.model_copy(update={"crop_min_area": 0.4, "crop_max_aspect": 1.5}), 9)
    boxes = np.array([augment._draw_box(300, 400, np.random.default_rng(n)) for n in range(600)])
    left, top, width, height = boxes.T
    assert (np.minimum(left, top) >= 0).all()
    assert (left + width <= 400).all() and (top + height <= 300).all()
    areas, aspects = width * height / 120_000, width / height
    assert 0.395 < areas.min() < 0.42 and 0.95 < areas.max() <= 1
    assert 1 / 1.52 < aspects.min() < 0.75 and 1.4 < aspects.max() < 1.52
    assert 0 in left and 0 in top and (left + width).max() == 400


def test_an_image_too_long_for_any_crop_gives_its_middle() -> None:
    box = Augmentation(OFF, 9)._draw_box(10, 100, np.random.default_rng(0))
    assert box == (45, 0, 10, 10)


@pytest.mark.parametrize("name", ["mirror", "grey", "blur", "jpeg", "erase"])
def test_a_probability_is_how_often_it_happens(name: str) -> None:
    augment = OFF.model_copy(update={"crop": "none", name: 0.3})
    plain = resize_image(IMAGE, 24)
    changed = [not np.array_equal(change(augment, n, side=24), plain) for n in range(400)]
    assert 0.22 < np.mean(changed) < 0.38


def test_colours_change_as_those_of_torchvision_do_on_average() -> None:
    # Torchvision cuts off at 0 and 255 after each step, and turns hues in HSV.
    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.05)
    ours = OFF.model_copy(
        update={"crop": "none", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.05}
    )
    image = resize_image(IMAGE, 24)
    torch.manual_seed(0)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    theirs = np.stack([jitter(tensor).permute(1, 2, 0).numpy() for _ in range(400)])
    found = np.stack([change(ours, n, side=24) for n in range(400)])
    assert abs(found.mean() - theirs.mean()) < 5
    distance = [np.abs(each - image.astype(int)).mean() for each in (*found, *theirs)]
    assert np.mean(distance[:400]) == pytest.approx(np.mean(distance[400:]), rel=0.15)
