"""The random changes of training images, and the dataset that makes them.

Reads image files. Every random choice depends on seed, epoch and place in the epoch alone, so
neither the number of loader processes nor an interruption changes what the network sees.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from .decode import ImageError, decode_image
from .image_file import ImageFile
from .images import Failure, Item
from .settings import AugmentSettings
from .transforms import to_tensor


def build_augmentation(settings: AugmentSettings, size: int) -> v2.Transform:
    """Return the random transform of a training image: uint8 [3, H, W] to [3, size, size]."""
    widest = settings.crop_max_aspect
    steps: list[v2.Transform] = [
        v2.RandomResizedCrop(
            size, scale=(settings.crop_min_area, 1.0), ratio=(1 / widest, widest), antialias=True
        ),
        v2.RandomHorizontalFlip(settings.mirror),
        v2.RandomRotation(settings.rotation, v2.InterpolationMode.BILINEAR),
        v2.RandomPerspective(settings.perspective, p=0.5 if settings.perspective else 0.0),
        v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue),
        v2.RandomGrayscale(settings.grey),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], settings.blur),
        v2.RandomErasing(settings.erase, scale=(0.02, 0.2), value=127),
    ]
    return v2.Compose(steps)


class AugmentedFiles(Dataset[Item]):
    """Images with the random changes of one training epoch."""

    def __init__(
        self,
        paths: Sequence[ImageFile],
        size: int,
        max_pixels: int,
        augment: AugmentSettings,
        seed: int,
    ) -> None:
        """Take the files; an item is asked for as (position, epoch, place in the epoch)."""
        self.paths, self.size, self.max_pixels, self.seed = list(paths), size, max_pixels, seed
        self.transform = build_augmentation(augment, size)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def __getitem__(self, key: tuple[int, int, int]) -> Item:
        """Return the position and its changed image, or why there is none."""
        position, epoch, place = key
        # A crop keeps part of the area: decode larger, so that most crops still shrink.
        side = self.size * 5 // 4
        try:
            image = decode_image(self.paths[position], min_side=side, max_pixels=self.max_pixels)
        except ImageError as error:
            return Failure(position, error.reason, str(error))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, epoch, place))
            return position, self.transform(to_tensor(image.pixels))


def _mix(*numbers: int) -> int:
    """Return one seed that differs for every combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
