"""A dataset of image files as the network sees them. An unreadable image is a record.

Reads image files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .decode import ImageError, decode_image
from .failure import Failure
from .image_file import ImageFile
from .regions import cut_regions, decode_side
from .settings import RegionSettings
from .transforms import Square, resize_square, to_tensor

Item = tuple[int, Tensor] | Failure

NO_REGIONS = RegionSettings()


@dataclass(frozen=True)
class Batch:
    """What could be read of some images."""

    positions: tuple[int, ...]  # [B], of the images in the list of all
    images: Tensor  # [B, 3, S, S] uint8; [B, 1 + R, 3, S, S] with regions
    failures: tuple[Failure, ...]


def collate(items: Sequence[Item]) -> Batch:
    """Put readable images into one tensor and unreadable ones on record."""
    read = [item for item in items if not isinstance(item, Failure)]
    images = torch.stack([image for _, image in read]) if read else torch.empty(0, 3, 1, 1)
    failures = tuple(item for item in items if isinstance(item, Failure))
    return Batch(tuple(position for position, _ in read), images, failures)


class ImageFiles(Dataset[Item]):
    """Images as the network sees them in inference: uint8 [3, size, size].

    With regions [1 + R, 3, size, size]: the image, then its regions.
    """

    def __init__(
        self,
        paths: Sequence[ImageFile],
        size: int,
        max_pixels: int,
        square: Square = "squeeze",
        *,
        min_side: int = 1,
        regions: RegionSettings = NO_REGIONS,
    ) -> None:
        """Take the files.

        Args:
            paths: of the files.
            size: side in pixels.
            max_pixels: limit of the decoder.
            square: how an image becomes one.
            min_side: pixels that a decoded image's shorter side keeps at least; `size` if larger,
                more for regions.
            regions: that follow the image, which they are cut from.
        """
        self.paths, self.size, self.max_pixels, self.square = paths, size, max_pixels, square
        # The shorter side keeps at least size pixels: enough for the square in the middle, too.
        self.min_side = max(decode_side(regions, size), min_side)
        self.regions = regions

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
        whole = to_tensor(resize_square(image.pixels, self.size, self.square))
        if not self.regions.grids:
            return position, whole
        parts = cut_regions(image.pixels, self.regions)
        squares = [to_tensor(resize_square(part, self.size, self.square)) for part in parts]
        return position, torch.stack([whole, *squares])
