"""Show what the random changes of training do: a picture with a row for each of them.

Reads some training images of a dataset. Writes a PNG or JPEG file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from embed.augment import Augmentation
from embed.decode import ImageError, decode_image
from embed.errors import InputError
from embed.files import writing
from embed.presets import PRESETS
from embed.train_settings import AugmentSettings
from embed.transforms import resize_image
from embed.variants import TRANSFORMS, make_variant
from pipelines.datasets.dataset import Dataset
from pipelines.lettering import write_line

TILE = 112  # pixels, side of an image
GAP = 4  # pixels between images
LABEL = 190  # pixels, width of the names
PAPER, INK = (250, 250, 249), (56, 62, 70)

# How strong a change is shown where the recipe has it switched off.
STRENGTHS = {
    **{"crop_min_area": 0.4, "rotation": 20.0, "perspective": 0.3},
    **{"shift": 0.15, "scale": 0.3, "shear": 15.0},
    **{"brightness": 0.4, "contrast": 0.4, "saturation": 0.6, "hue": 0.1},
}
PROBABILITIES = ("mirror", "grey", "blur", "jpeg", "erase")  # shown as if they were 1

Change = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]  # of pixels, at a place


def write_augmentation_sheet(
    dataset: Dataset, augment: AugmentSettings, path: Path, *, columns: int = 8, seed: int = 0
) -> None:
    """Write a picture of some training images under every change, preset and variant.

    Args:
        dataset: its training images are shown.
        augment: the recipe's changes. One row has all of them, each of those that follow one, as
            strong as there, or as in STRENGTHS where it is off.
        path: PNG or JPEG file to write.
        columns: images a row, from 1; fewer are shown if no more can be read.
        seed: of the choice of images, and of the changes.

    Raises:
        InputError: columns is less than 1, path is no picture, or no image can be read.
    """
    if columns < 1:
        raise InputError(f"columns {columns}: expected at least 1")
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path} is to be a picture; call it .png or .jpg")
    images = _read_images(dataset, columns, seed)
    rows: dict[str, Change] = {"as it is": lambda pixels, place: pixels}
    rows["all of the recipe"] = _changed_by(augment, seed)
    for name in (*STRENGTHS, *PROBABILITIES):
        rows[name] = _changed_by(_only(augment, name), seed)
    for name in PRESETS:
        preset = AugmentSettings.model_validate({"preset": name})
        rows[f"preset {name}"] = _changed_by(preset, seed)
    for bit, name in enumerate(TRANSFORMS):
        rows[f"variant: {name}"] = _variant(1 << bit, seed)
    with writing(path) as temporary:
        _draw(images, rows).save(temporary)


def _read_images(dataset: Dataset, count: int, seed: int) -> list[NDArray[np.uint8]]:
    table = dataset.load_split(dataset.class_split)
    images: list[NDArray[np.uint8]] = []
    reasons: list[str] = []
    for row in np.random.default_rng(seed).permutation(len(table.ids)):
        if len(images) == count or len(reasons) == count:
            break
        try:
            images.append(decode_image(dataset.locate(table.ids[row]), min_side=2 * TILE).pixels)
        except ImageError as error:
            reasons.append(str(error))
    if not images:
        first = f"; the first of {len(reasons)} that could not: {reasons[0]}" if reasons else ""
        raise InputError(f"no image of {table.path} could be read{first}")
    return images


def _only(augment: AugmentSettings, name: str) -> AugmentSettings:
    """Return settings with all but one change switched off."""
    value = 1.0 if name in PROBABILITIES else getattr(augment, name)
    if value == PRESETS["none"].get(name, 0.0) and name in STRENGTHS:
        value = STRENGTHS[name]
    values: dict[str, float | str] = {"preset": "none", name: value}
    if name == "crop_min_area":
        values |= {"crop": "random", "crop_max_aspect": augment.crop_max_aspect}
    if name == "jpeg":
        values["jpeg_quality"] = augment.jpeg_quality
    return AugmentSettings.model_validate(values)


def _changed_by(augment: AugmentSettings, seed: int) -> Change:
    transform = Augmentation(augment, TILE)
    return lambda pixels, place: transform(pixels, np.random.default_rng([seed, place]))


def _variant(variant: int, seed: int) -> Change:
    return lambda pixels, place: make_variant(pixels, variant, str(place), seed)


def _draw(images: Sequence[NDArray[np.uint8]], rows: dict[str, Change]) -> Image.Image:
    """Lay the rows under one another, each with its name before it."""
    step = TILE + GAP
    sheet = Image.new("RGB", (LABEL + len(images) * step + GAP, len(rows) * step + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, change) in enumerate(rows.items()):
        top = GAP + number * step
        write_line(draw, (GAP * 2, top + TILE // 2), name, 13, INK, width=LABEL - 3 * GAP)
        for place, pixels in enumerate(images):
            tile = Image.fromarray(resize_image(change(pixels, place), TILE))
            sheet.paste(tile, (LABEL + place * step, top))
    return sheet
