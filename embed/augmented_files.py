"""The dataset of training images: decoded, perhaps as a variant, and changed at random.

Reads image files. Every random choice depends on seed, epoch and place in the epoch alone, so
neither the number of loader processes nor an interruption changes what the network sees.
"""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from .augment import Augmentation, Pixels
from .decode import ImageError, decode_image
from .failure import Failure
from .image_cache import ImageCache
from .image_file import ImageFile, limit_bytes, read_image_file
from .images import Item
from .profile import Profile
from .tensors import to_tensor
from .train_settings import AugmentSettings
from .transforms import resize_to
from .upsampling import Examples
from .variants import make_variant, name_transforms


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
        cache: ImageCache | None = None,
        profile: Profile | None = None,
    ) -> None:
        """Take the files; an item is asked for as (position, epoch, place in the epoch).

        With examples a position is one of theirs; without, that of a file. The parameters of a
        variant depend on the id of its file.
        """
        self.paths, self.size, self.max_pixels, self.seed = paths, size, max_pixels, seed
        self.examples, self.ids = examples, ids
        self.cache, self.profile = cache, profile or Profile()
        self.augment = Augmentation(augment, size)

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
            pixels = self._load(self.paths[row], side, epoch)
        except ImageError as error:
            return Failure(row, error.reason, str(error))
        with self.profile.timed("augment"):
            if variant:
                pixels = make_variant(pixels, variant, self.ids[row], self.seed)
            generator = np.random.default_rng([self.seed, epoch, place])
            return position, to_tensor(self.augment(pixels, generator))

    def _load(self, file: ImageFile, side: int, epoch: int) -> Pixels:
        """Return the pixels of an image, whose shorter side has so many pixels, or fewer.

        Raises:
            ImageError: as decode_image.
        """
        if self.cache is not None:
            with self.profile.timed("read"):
                kept = self.cache.load(file, side)
            if kept is not None:
                return kept
        with self.profile.timed("read"):
            data = read_image_file(file, limit_bytes(self.max_pixels))
        with self.profile.timed("decode"):
            image = decode_image(data, min_side=side, max_pixels=self.max_pixels, name=str(file))
            pixels = _shrink(image.pixels, side)
        if self.cache is not None:
            with self.profile.timed("read"):
                self.cache.store(file, side, epoch, pixels)
        return pixels


def _shrink(pixels: Pixels, side: int) -> Pixels:
    """Return [H, W, 3] with a shorter side of at most so many pixels."""
    height, width = pixels.shape[:2]
    factor = side / min(height, width)
    if factor >= 1:
        return pixels
    return resize_to(pixels, (max(round(height * factor), side), max(round(width * factor), side)))
