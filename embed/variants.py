"""Make a variant of an image: a crop with zoom, grey, mirrored, brighter, darker, or several.

A variant is a number. Its five low bits are the set of TRANSFORMS, the three high bits a round: the
same set with other random parameters. 0 is the image itself. Reads and writes no files.
"""

import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TRANSFORMS = ("crop", "grey", "mirror", "brighter", "darker")  # bits 0 to 4, made in this order
SUBSETS = 2 ** len(TRANSFORMS) - 1  # all sets but the empty one
ROUND = SUBSETS + 1  # what a round adds to the number

CROP_AREA = (0.5, 0.9)  # share of the image's area that a crop keeps
BRIGHTER = (1.2, 1.6)  # factor
DARKER = (0.5, 0.8)  # factor


def name_transforms(variant: int) -> tuple[str, ...]:
    """Return the names of a variant's transforms.

    >>> name_transforms(5)
    ('crop', 'mirror')
    """
    return tuple(name for bit, name in enumerate(TRANSFORMS) if variant >> bit & 1)


def make_variant(
    pixels: NDArray[np.uint8], variant: int, image_id: str, seed: int
) -> NDArray[np.uint8]:
    """Return a variant of an image.

    Its parameters depend on variant, image_id and seed alone, and are relative to the image's size:
    made while training, of an image decoded at a part of its size, a variant is the same as one
    that was written to disk.

    Args:
        pixels: [H, W, 3] RGB; left as it is.
        variant: 0 to MAX_VARIANTS - 1.
        image_id: of the image.
        seed: of the training set.

    Returns:
        [h, w, 3], smaller if cropped: it is enlarged by whoever resizes it for the network.
    """
    chosen = name_transforms(variant)
    generator = np.random.default_rng([seed, zlib.crc32(image_id.encode()), variant])
    area, brighter, darker = (
        generator.uniform(*range_) for range_ in (CROP_AREA, BRIGHTER, DARKER)
    )
    corner = generator.random(2)
    changed: NDArray[Any] = pixels
    if "crop" in chosen:
        changed = _crop(changed, area, corner)
    if "grey" in chosen:
        changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if "mirror" in chosen:
        changed = changed[:, ::-1]
    if "brighter" in chosen:
        changed = cv2.convertScaleAbs(changed, alpha=brighter)
    if "darker" in chosen:
        changed = cv2.convertScaleAbs(changed, alpha=darker)
    return np.ascontiguousarray(changed)


def _crop(pixels: NDArray[np.uint8], area: float, corner: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut out a window of the image's shape; corner: [2] of the room above and left of it."""
    size = np.array(pixels.shape[:2])
    inner = np.maximum(np.rint(size * np.sqrt(area)), 1).astype(np.int64)
    top, left = np.rint((size - inner) * corner).astype(np.int64)
    return pixels[top : top + inner[0], left : left + inner[1]]
