"""The random changes of training images, and the dataset that makes them.

Reads image files. Every random choice depends on seed, epoch and place in the epoch alone, so
neither the number of loader processes nor an interruption changes what the network sees.
"""

import io
import math
from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from .decode import ImageError, decode_image
from .failure import Failure
from .image_file import ImageFile
from .images import Item
from .tensors import to_tensor
from .train_settings import AugmentSettings
from .upsampling import Examples
from .variants import make_variant, name_transforms

HIGHEST_QUALITY = 95  # of JPEG


def build_augmentation(settings: AugmentSettings, size: int) -> v2.Transform:
    """Return the random transform of a training image: uint8 [3, H, W] to [3, size, size]."""
    return v2.Compose(
        [
            _build_crop(settings, size),
            v2.RandomHorizontalFlip(settings.mirror),
            v2.RandomRotation(settings.rotation, v2.InterpolationMode.BILINEAR),
            v2.RandomPerspective(settings.perspective, p=0.5 if settings.perspective else 0.0),
            *_build_affine(settings),
            v2.ColorJitter(
                settings.brightness, settings.contrast, settings.saturation, settings.hue
            ),
            v2.RandomGrayscale(settings.grey),
            v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], settings.blur),
            *_build_jpeg(settings),
            v2.RandomErasing(settings.erase, scale=(0.02, 0.2), value=127),
        ]
    )


def _build_crop(settings: AugmentSettings, size: int) -> v2.Transform:
    if settings.crop == "none":
        return v2.Resize((size, size), antialias=True)
    if settings.crop == "centre":
        return v2.Lambda(partial(_cut_middle, size=size, area=settings.crop_min_area))
    widest = settings.crop_max_aspect
    return v2.RandomResizedCrop(
        size, scale=(settings.crop_min_area, 1.0), ratio=(1 / widest, widest), antialias=True
    )


def _build_affine(settings: AugmentSettings) -> list[v2.Transform]:
    """Return the step, or none where it would change nothing: it would draw numbers all the same.

    Those of the steps that follow shall not depend on it.
    """
    shift, scale, shear = settings.shift, settings.scale, settings.shear
    if not (shift or scale or shear):
        return []
    return [
        v2.RandomAffine(
            0.0,
            translate=(shift, shift),
            scale=(1 - scale, 1 + scale),
            shear=shear,
            interpolation=v2.InterpolationMode.BILINEAR,
        )
    ]


def _build_jpeg(settings: AugmentSettings) -> list[v2.Transform]:
    """Return the step, or none, as for affine changes."""
    if not settings.jpeg:
        return []
    compress = v2.Lambda(partial(_compress, lowest=settings.jpeg_quality))
    return [v2.RandomApply([compress], settings.jpeg)]


def _compress(image: Tensor, lowest: int) -> Tensor:
    """Return uint8 [3, H, W] as JPEG of a random quality gives it back."""
    # Not v2.JPEG: torchvision 0.29 deprecates its codecs.
    quality = int(torch.randint(lowest, HIGHEST_QUALITY + 1, ()))
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=quality)
    return to_tensor(np.asarray(Image.open(stream)))


def _cut_middle(image: Tensor, size: int, area: float) -> Tensor:
    """Return [3, size, size] of a share of the area of the middle square of [3, H, W]."""
    side = max(round(min(image.shape[-2:]) * math.sqrt(area)), 1)
    middle = v2.functional.center_crop(image, [side, side])
    return cast(Tensor, v2.functional.resize(middle, [size, size], antialias=True))


class AugmentedFiles(Dataset[Item]):
    """Images, or variants of them, with the random changes of one training epoch."""

    def __init__(
        self,
        paths: Sequence[ImageFile],
        size: int,
        max_pixels: int,
        augment: AugmentSettings,
        seed: int,
        *,
        examples: Examples | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        """Take the files; an item is asked for as (position, epoch, place in the epoch).

        With examples a position is one of theirs; without, that of a file. The parameters of a
        variant depend on the id of its file.
        """
        self.paths, self.size, self.max_pixels, self.seed = paths, size, max_pixels, seed
        self.examples, self.ids = examples, ids
        self.transform = build_augmentation(augment, size)

    def __len__(self) -> int:
        """Return the number of positions."""
        return len(self.paths if self.examples is None else self.examples)

    def __getitem__(self, key: tuple[int, int, int]) -> Item:
        """Return the position and its changed image, or which file is why there is none."""
        position, epoch, place = key
        row, variant = position, 0
        if self.examples is not None:
            row = int(self.examples.rows[position])
            variant = int(self.examples.variants[position])
        # A crop keeps part of the area: decode larger, so that most crops still shrink.
        side = self.size * 5 // 4
        if "crop" in name_transforms(variant):
            side = side * 5 // 4
        try:
            image = decode_image(self.paths[row], min_side=side, max_pixels=self.max_pixels)
        except ImageError as error:
            return Failure(row, error.reason, str(error))
        pixels = image.pixels
        if variant:
            pixels = make_variant(pixels, variant, self.ids[row], self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, epoch, place))
            return position, self.transform(to_tensor(pixels))


def _mix(*numbers: int) -> int:
    """Return one seed that differs for every combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
