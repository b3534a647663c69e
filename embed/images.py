"""A dataset of image files as the network sees them. An unreadable image is a record.

Reads image files.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from .decode import ImageError, decode_image
from .failure import Failure
from .image_file import ImageFile
from .regions import cut_regions, decode_side
from .settings import RegionSettings
from .tensors import to_tensor
from .transforms import Square, resize_image

Item = tuple[int, Tensor] | Failure

NO_REGIONS = RegionSettings()


@dataclass(frozen=True)
class Batch:
    """What could be read of some images: those of one shape."""

    positions: tuple[int, ...]  # [B], of the images in the list of all
    images: Tensor  # [B, 3, h, w] uint8; [B, 1 + R, 3, h, w] with regions
    failures: tuple[Failure, ...]

    def split(self, count: int) -> tuple["Batch", "Batch"]:
        """Return the first images, with all failures, and the others."""
        first = Batch(self.positions[:count], self.images[:count], self.failures)
        return first, Batch(self.positions[count:], self.images[count:], ())


def collate(items: Sequence[Item]) -> Batch:
    """Put readable images into one tensor and unreadable ones on record."""
    read = [item for item in items if not isinstance(item, Failure)]
    images = torch.stack([image for _, image in read]) if read else torch.empty(0, 3, 1, 1)
    failures = tuple(item for item in items if isinstance(item, Failure))
    return Batch(tuple(position for position, _ in read), images, failures)


def collate_shapes(items: Sequence[Item]) -> list[Batch]:
    """Collate the images of each shape; the failures go with the first of these."""
    groups: dict[torch.Size, list[Item]] = defaultdict(list)
    for item in items:
        if not isinstance(item, Failure):
            groups[item[1].shape].append(item)
    first, *others = groups.values() or ([],)
    failures = [item for item in items if isinstance(item, Failure)]
    return [collate([*first, *failures]), *map(collate, others)]


def gather_shapes(loaded: Iterable[list[Batch]], size: int, most: int) -> Iterator[Batch]:
    """Yield batches of `size` images of one shape, wherever enough of them come in time.

    Args:
        loaded: lists of at most `size` images, a batch for each of their shapes.
        size: images in a batch.
        most: images that may wait for others of their shape when the next list is asked for;
            above it the batch of most images does not wait any longer.
    """
    waiting: dict[torch.Size, Batch] = {}
    for batches in loaded:
        for batch in batches:
            shape = batch.images.shape[1:]
            if earlier := waiting.pop(shape, None):
                batch = _join(earlier, batch)
            if len(batch.positions) >= size or not batch.positions:
                full, batch = batch.split(size)
                yield full
            if batch.positions:
                waiting[shape] = batch
        while sum(len(batch.positions) for batch in waiting.values()) > most:
            yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape].positions)))
    yield from waiting.values()


def _join(first: Batch, second: Batch) -> Batch:
    images = torch.cat([first.images, second.images])
    return Batch(first.positions + second.positions, images, first.failures + second.failures)


class ImageFiles(Dataset[Item]):
    """Images as the network sees them in inference: uint8 [3, size, size], if they are squares.

    With regions, which squares alone have, [1 + R, 3, size, size]: the image, then its regions.
    """

    def __init__(
        self,
        paths: Sequence[ImageFile],
        size: int,
        max_pixels: int,
        square: Square = "squeeze",
        *,
        cell: int = 1,
        min_side: int = 1,
        regions: RegionSettings = NO_REGIONS,
    ) -> None:
        """Take the files.

        Args:
            paths: of the files.
            size: side in pixels.
            max_pixels: limit of the decoder.
            square: how an image becomes one, if it does: see transforms.resize_image.
            cell: pixels, of which a fitted side has a few more or less than `size`.
            min_side: pixels that a decoded image's shorter side keeps at least; `size` if larger,
                more for regions.
            regions: that follow the image, which they are cut from.
        """
        self.paths, self.size, self.max_pixels = paths, size, max_pixels
        self.square, self.cell, self.regions = square, cell, regions
        # The shorter side keeps at least size pixels: enough for the square in the middle, too. Of
        # a fitted image it needs more where the longer side was rounded up.
        side = size + (cell // 2 if square == "fit" else 0)
        self.min_side = max(decode_side(regions, side), min_side)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def __getitem__(self, position: int) -> Item:
        """Return the position and its image, or why there is none."""
        try:
            image = decode_image(
                self.paths[position], min_side=self.min_side, max_pixels=self.max_pixels
            )
        except ImageError as error:
            return Failure(position, error.reason, str(error))
        whole = self._resize(image.pixels)
        if not self.regions.grids:
            return position, whole
        parts = cut_regions(image.pixels, self.regions)
        return position, torch.stack([whole, *map(self._resize, parts)])

    def _resize(self, pixels: NDArray[np.uint8]) -> Tensor:
        return to_tensor(resize_image(pixels, self.size, self.square, self.cell))
