"""Lay out a sample of a rendered city in one picture: landmarks, look-alikes, other scenes."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from embed.errors import InputError, MissingFileError
from pipelines.lettering import write_line
from pipelines.tiles import fill_tile

TILE = (224, 168)  # pixels, width and height of a photo
GAP = 6  # pixels between photos
MARGIN = 18  # pixels around them
ABOVE = 28  # pixels above each row, for its captions
PAPER = (249, 250, 250)
INK = (56, 62, 70)


def contact_sheet(
    folder: Path,
    path: Path,
    *,
    rows: int = 6,
    columns: int = 8,
    seed: int = 0,
    twins: tuple[int, int] | None = None,
) -> None:
    """Write a picture with a sample of a city.

    The last row shows scenes without a landmark; each other row a few photos each of two landmarks.

    Args:
        folder: a dataset folder that `render_city` wrote.
        path: PNG or JPEG file to write.
        rows: of photos, at least 2.
        columns: photos a row, at least 2.
        seed: of the choice.
        twins: landmark_ids of two look-alikes to show in the first row (see plan.City.twins).

    Raises:
        InputError: rows or columns is less than 2, the city has too few landmarks, or path does not
            end as a picture.
        FileNotFoundError: a table or a photo is missing.
    """
    if rows < 2 or columns < 2:
        raise InputError(f"rows {rows} and columns {columns} must be 2 or more")
    rng = np.random.default_rng(seed)
    names = {row["landmark_id"]: row["name"] for row in _read(folder / "labels.csv")}
    photos: dict[str, list[str]] = defaultdict(list)
    for row in _read(folder / "index.csv"):
        photos[row["landmark_id"]].append(row["id"])
    half = columns // 2
    rich = sorted(k for k, ids in photos.items() if len(ids) >= columns - half)
    if len(rich) < 2 * (rows - 1):
        raise InputError(
            f"{len(rich)} landmarks with {columns - half} photos; expected {2 * (rows - 1)}"
        )
    first = [str(k) for k in twins or ()]
    if unknown := [k for k in first if k not in photos]:
        raise InputError(f"landmark {unknown[0]} has no photo in {folder / 'index.csv'}")
    order = [str(k) for k in rng.permutation(rich) if k not in first]
    picked = (first + order)[: 2 * (rows - 1)]
    strips: list[list[tuple[str, str]]] = []
    for left, right in zip(picked[::2], picked[1::2], strict=True):
        cells = []
        for label, count in ((left, half), (right, columns - half)):
            ids = [str(i) for i in rng.permutation(photos[label])[:count]]
            ids += [""] * (count - len(ids))
            cells += [(i, names[label] if k == 0 else "") for k, i in enumerate(ids)]
        strips.append(cells)
    pool = [row["id"] for row in _read(folder / "non_landmark.csv")]
    others = [str(i) for i in rng.permutation(pool)[:columns]]
    cells = [(i, "No landmark" if k == 0 else "") for k, i in enumerate(others)]
    _draw(folder, [*strips, cells]).save(path)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _draw(folder: Path, strips: Sequence[Sequence[tuple[str, str]]]) -> Image.Image:
    """Lay strips of photos and captions below one another; no id leaves a gap."""
    width = 2 * MARGIN + len(strips[0]) * (TILE[0] + GAP) - GAP
    step = TILE[1] + ABOVE
    sheet = Image.new("RGB", (width, len(strips) * step + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, cells in enumerate(strips):
        top = row * step + ABOVE
        for column, (image_id, caption) in enumerate(cells):
            left = MARGIN + column * (TILE[0] + GAP)
            if image_id:
                sheet.paste(_tile(folder / "images" / f"{image_id}.jpg"), (left, top))
            write_line(draw, (left, top - 12), caption, 14, INK, width=2 * TILE[0])
    return sheet


def _tile(path: Path) -> Image.Image:
    """Read a photo and cut its middle to the shape of a tile."""
    try:
        with Image.open(path) as image:
            return fill_tile(image.convert("RGB"), TILE, height=0.4)
    except FileNotFoundError as error:
        raise MissingFileError(f"no photo {path}; render the city again") from error
