"""Write variants of images as files, beside links to the images themselves.

Reads image files. Writes a folder of images: <id>~<variant>.jpg, and a symbolic link for each entry
of another one. What is there is kept; a file is there whole or not at all.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.decode import ImageError, decode_image
from embed.failure import Failure
from embed.files import writing
from embed.parallel import run_parallel
from embed.upsampling import Examples
from embed.variants import make_variant
from pipelines.datasets.dataset import Dataset
from pipelines.progress import progress_bar

QUALITY = 90  # of the JPEG files
CHUNK = 256  # images between two steps of the progress bar
VARIANT_MARK = "~"  # between the id of an image and the number of its variant


def link_entries(source: Path, folder: Path) -> None:
    """Make a symbolic link in folder to each entry of a folder of images: files, tars, folders."""
    folder.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    there = Path(os.path.relpath(source.resolve(), folder.resolve()))
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(there / name)


@dataclass(frozen=True)
class _Work:
    """An image and the variants that are wanted of it."""

    row: int
    variants: tuple[int, ...]


def write_variants(
    dataset: Dataset, ids: Sequence[str], examples: Examples, folder: Path, seed: int
) -> list[Failure]:
    """Write the variants among the examples that are not there yet.

    Args:
        dataset: has the images.
        ids: [N] of the images.
        examples: rows of these, ascending, with their variants; 0 needs no file.
        folder: of images, see link_entries.
        seed: of the variants' parameters.

    Returns:
        The images, by row, that cannot be read and have no variants therefore.
    """

    def write(work: _Work) -> Failure | None:
        image_id = ids[work.row]
        wanted = {v: folder / f"{image_id}{VARIANT_MARK}{v}.jpg" for v in work.variants}
        missing = {variant: path for variant, path in wanted.items() if not path.exists()}
        if not missing:
            return None
        try:
            pixels = decode_image(dataset.locate(image_id)).pixels
        except ImageError as error:
            return Failure(work.row, error.reason, str(error))
        for variant, path in missing.items():
            _save(make_variant(pixels, variant, image_id, seed), path)
        return None

    made = examples.variants > 0
    rows, starts = np.unique(examples.rows[made], return_index=True)
    groups = np.split(examples.variants[made], starts[1:]) if len(rows) else []
    failures: list[Failure | None] = []
    with progress_bar("write variants", len(rows)) as advance:
        for first in range(0, len(rows), CHUNK):
            part = slice(first, first + CHUNK)
            works = [
                _Work(row, tuple(variants.tolist()))
                for row, variants in zip(rows[part].tolist(), groups[part], strict=True)
            ]
            failures += run_parallel(write, works)
            advance(len(works))
    return [failure for failure in failures if failure is not None]


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    with writing(path, path.with_name(f".{path.name}.tmp")) as temporary:  # of a million files
        Image.fromarray(pixels).save(temporary, "JPEG", quality=QUALITY)
