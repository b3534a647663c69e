"""Take a photo as people have it, a file, bytes, a Pillow image or an array, and decode it.

Reads the file. Knows no model.
"""

import hashlib
import io
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from embed.crop import crop, fit_box
from embed.decode import DecodedImage, ImageError, decode_image
from embed.decode_result import check_size, to_rgb
from embed.image_file import FileSlice, ImageFile, read_image_file
from rerank.hulls import Box

Pixels = NDArray[np.uint8]

KINDS = "a photo is a path, bytes, a Pillow image or an array"
BOX = "a box is left, top, right and bottom in pixels"
WHOLE = 1 << 30  # pixels that no side has: an image is not shrunk where so many are wanted
SUFFIXES = {b"\x89PNG": ".png", b"RIFF": ".webp"}  # of files that begin so; others are .jpg


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that is asked about, and the part of it that is meant."""

    source: ImageFile | bytes | Image.Image | NDArray[np.uint8] | DecodedImage
    name: str  # what it is called in the answer
    box: Box | None = None  # left, top, right, bottom in pixels of the upright original; None: all

    @classmethod
    def of(cls, source: "ImageSource", name: str = "", box: Box | None = None) -> "Photo":
        """Take what people have; a Photo as it is, but for a name or a box that is given.

        Raises:
            TypeError: nothing that can be a photo, or no box.
            ValueError: an array of another shape or type than [H, W, 3] uint8, or a box without a
                pixel.
        """
        box = None if box is None else _check_box(box)
        if isinstance(source, Photo):
            return cls(source.source, name or source.name, source.box if box is None else box)
        if isinstance(source, bytes | bytearray | memoryview):
            return cls(bytes(source), name or "photo", box)
        if isinstance(source, np.ndarray):
            if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8:
                found = f"{source.dtype} {list(source.shape)}"
                raise ValueError(f"an image as an array is uint8 [H, W, 3], RGB; this is {found}")
            return cls(source, name or "photo", box)
        if isinstance(source, Image.Image):
            return cls(source, name or str(getattr(source, "filename", "")) or "photo", box)
        if isinstance(source, FileSlice):
            return cls(source, name or str(source), box)
        if isinstance(source, str | os.PathLike):
            return cls(Path(source), name or str(Path(source)), box)
        raise TypeError(f"{KINDS}, not {type(source).__name__}")

    def decode(self, min_side: int, max_pixels: int) -> DecodedImage:
        """Decode the photo, or the part of it that is meant.

        Args:
            min_side: pixels that are wanted of the shorter side, see decode_image.
            max_pixels: above which it is refused.

        Raises:
            ImageError: it cannot be read.
            InputError: the box lies outside.
        """
        image = self._decode(min_side, max_pixels)
        if self.box is None:
            return image
        box = fit_box(self.box, image.original_size)
        shrunk = image.original_size[0] / image.pixels.shape[1]
        inner = min(box[2] - box[0], box[3] - box[1])
        if shrunk > 1 and inner < min_side * shrunk:  # of the part, too few pixels are left
            wanted = min_side * min(image.original_size) / inner
            image = self._decode(int(np.ceil(wanted)), max_pixels)
        return crop(image, box)

    def _decode(self, min_side: int, max_pixels: int) -> DecodedImage:
        source = self.source
        if isinstance(source, DecodedImage):
            return source
        if isinstance(source, np.ndarray):
            height, width = source.shape[:2]
            self._check_size((width, height), max_pixels)
            return DecodedImage(np.array(source), (width, height))
        if isinstance(source, Image.Image):
            self._check_size(source.size, max_pixels)
            try:
                upright = ImageOps.exif_transpose(source)
                return DecodedImage(to_rgb(upright), upright.size)
            except (OSError, ValueError, SyntaxError) as error:  # Pillow reads files only here
                raise ImageError("corrupt", str(error), self.name) from error
        return decode_image(source, min_side=min_side, max_pixels=max_pixels, name=self.name)

    def _check_size(self, size: tuple[int, int], max_pixels: int) -> None:
        try:
            check_size(size, max_pixels)
        except ImageError as error:
            raise ImageError(error.reason, error.found, self.name) from error


ImageSource: TypeAlias = str | os.PathLike[str] | FileSlice | bytes | Image.Image | Pixels | Photo


def is_image(source: object) -> TypeGuard[ImageSource]:
    """Tell whether this is one photo; else it is several."""
    kinds = (str, os.PathLike, FileSlice, bytes, bytearray, memoryview, Image.Image, Photo)
    return isinstance(source, kinds) or (isinstance(source, np.ndarray) and source.ndim != 4)


def list_images(source: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """Return one photo, or several, as a list.

    Raises:
        TypeError: neither, as an open file, which would be read line by line.
    """
    if is_image(source):
        return [source]
    if not isinstance(source, Sequence | np.ndarray):
        raise TypeError(f"{KINDS}, or a list of these, not {type(source).__name__}")
    return list(cast(Sequence[ImageSource], source))


def _check_box(box: Sequence[float]) -> Box:
    """Return a box in whole pixels. Raises TypeError or ValueError for what is none."""
    numbers = [*box] if isinstance(box, Iterable) else []
    if not numbers or not all(isinstance(number, Real) for number in numbers):
        raise TypeError(f"{BOX}, not {box!r}")
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{BOX}, not {tuple(map(float, numbers))}")
    left, top, right, bottom = (round(float(number)) for number in numbers)
    if left >= right or top >= bottom:
        raise ValueError(f"{BOX}, and {(left, top, right, bottom)} holds no pixel")
    return left, top, right, bottom


def save_photo(photo: Photo, folder: Path) -> Path:
    """Return the file, or folder of files, of a photo; what has none is written into a folder.

    Its name is the sha256 of its content there, never one from outside. A part of a photo is
    written as it is asked about.

    Raises:
        InputError: it cannot be read, or the box lies outside.
    """
    source = photo.source
    if isinstance(source, Path) and photo.box is None:
        return source
    if isinstance(source, bytes | FileSlice) and photo.box is None:
        data = source if isinstance(source, bytes) else read_image_file(source, sys.maxsize)
    else:
        written = io.BytesIO()
        pixels = photo.decode(WHOLE, sys.maxsize).pixels
        Image.fromarray(pixels).save(written, "PNG")
        data = written.getvalue()
    suffix = next((s for start, s in SUFFIXES.items() if data.startswith(start)), ".jpg")
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    path.write_bytes(data)
    return path
