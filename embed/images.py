"""A dataset of image files as the network sees them. An unreadable image is a record.

Reads image files.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .decode import DecodedImage, ImageError, decode_image
from .failure import Failure
from .image_file import ImageFile, limit_bytes, read_image_file
from .meter import Meter
from .parallel import one_opencv_thread
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

    def pin_memory(self) -> Self:
        """Return it with images that a GPU fetches by itself; a DataLoader calls this."""
        return replace(self, images=self.images.pin_memory())


def collate(items: Sequence[Item]) -> Batch:
    """Put readable images into one tensor and unreadable ones on record."""
    read = [item for item in items if not isinstance(item, Failure)]
    images = torch.stack([image for _, image in read]) if read else torch.empty(0, 3, 1, 1)
    failures = tuple(item for item in items if isinstance(item, Failure))
    return Batch(tuple(position for position, _ in read), images, failures)


def batch_shapes(items: Iterable[Item], size: int, most: int) -> Iterator[Batch]:
    """Yield batches of `size` images of one shape, wherever enough of them come in time.

    Args:
        items: images and failures; a failure goes with the next batch.
        size: images in a batch.
        most: images that may wait for others of their shape; above it those of the shape that most
            have do not wait any longer.
    """
    waiting: dict[torch.Size, list[Item]] = defaultdict(list)
    failures: list[Item] = []
    for item in items:
        if isinstance(item, Failure):
            failures.append(item)
            continue
        same = waiting[item[1].shape]
        same.append(item)
        if len(same) < size and sum(map(len, waiting.values())) > most:
            same = max(waiting.values(), key=len)
        elif len(same) < size:
            continue
        yield collate([*same, *failures])
        same.clear()
        failures.clear()
    rest = [same for same in waiting.values() if same]
    if failures and not rest:
        yield collate(failures)
    for same in rest:
        yield collate([*same, *failures])
        failures.clear()


def decode_file(
    file: ImageFile, *, min_side: int | None, max_pixels: int, meter: Meter
) -> DecodedImage:
    """Decode one image file as decode_image does, and time reading and decoding."""
    with meter.working("reading"):
        data = read_image_file(file, limit_bytes(max_pixels))
    with meter.working("decoding"):
        return decode_image(data, min_side=min_side, max_pixels=max_pixels, name=str(file))


@dataclass(frozen=True)
class ImageLoader:
    """Loads images as the network sees them in inference.

    Attributes:
        size: side in pixels.
        max_pixels: limit of the decoder.
        square: how an image becomes one, if it does: see transforms.resize_image.
        cell: pixels, of which a fitted side has a few more or less than `size`.
        min_side: pixels that a decoded image's shorter side keeps at least; `needed_side` if
            that is more.
        regions: that follow the image, which they are cut from.
    """

    size: int
    max_pixels: int
    square: Square = "squeeze"
    cell: int = 1
    min_side: int = 1
    regions: RegionSettings = NO_REGIONS

    @property
    def needed_side(self) -> int:
        """Pixels of the shorter side that are enough for every view, the square in the middle too.

        A fitted image needs more where its longer side was rounded up, regions because they are
        parts of it.
        """
        side = self.size + (self.cell // 2 if self.square == "fit" else 0)
        return decode_side(self.regions, side)

    def load(self, position: int, file: ImageFile, meter: Meter) -> Item:
        """Return a position and its image, or why there is none.

        The image is uint8 [3, h, w], with size = h = w if it is a square; with regions
        [1 + R, 3, size, size]: the image, then its regions.
        """
        side = max(self.needed_side, self.min_side)
        try:
            image = decode_file(file, min_side=side, max_pixels=self.max_pixels, meter=meter)
        except ImageError as error:
            return Failure(position, error.reason, str(error))
        with meter.working("decoding"):
            whole = self._resize(image.pixels)
            if not self.regions.grids:
                return position, whole
            parts = cut_regions(image.pixels, self.regions)
            return position, torch.stack([whole, *map(self._resize, parts)])

    def _resize(self, pixels: NDArray[np.uint8]) -> Tensor:
        return to_tensor(resize_image(pixels, self.size, self.square, self.cell))


class ImageFiles(Dataset[Item]):
    """Image files as an ImageLoader loads them."""

    def __init__(self, paths: Sequence[ImageFile], loader: ImageLoader) -> None:
        """Take the files, and what loads them."""
        self.paths, self.loader = paths, loader

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def __getitem__(self, position: int) -> Item:
        """Return the position and its image, or why there is none."""
        return self.loader.load(position, self.paths[position], Meter())


def start_loader(loader: DataLoader[Any]) -> Iterator[Any]:
    """Return the iterator of a loader, whose processes begin with OpenCV on one thread.

    Threads do not survive a fork: a process that waits for those of OpenCV would wait for ever.
    """
    with one_opencv_thread():
        return iter(loader)
