"""Lay out a sample of a rendered city in one picture: landmarks, look-alikes, other scenes."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from .camera import Bytes

TILE = (224, 168)  # pixels, width and height of a photo
GAP = 6  # pixels between photos
MARGIN = 18  # pixels around them and above each row, for its caption
PAPER = (250, 250, 249)
INK = (70, 62, 56)


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
        ValueError: rows or columns is less than 2, or the city has too few landmarks.
        FileNotFoundError: a table or a photo is missing.
    """
    if rows < 2 or columns < 2:
        raise ValueError(f"rows {rows} and columns {columns} must be 2 or more")
    rng = np.random.default_rng(seed)
    names = {row["landmark_id"]: row["name"] for row in _read(folder / "labels.csv")}
    photos: dict[str, list[str]] = defaultdict(list)
    for row in _read(folder / "index.csv"):
        photos[row["landmark_id"]].append(row["id"])
    half = columns // 2
    rich = sorted(k for k, ids in photos.items() if len(ids) >= columns - half)
    if len(rich) < 2 * (rows - 1):
        raise ValueError(
            f"{len(rich)} landmarks with {columns - half} photos; expected {2 * (rows - 1)}"
        )
    first = [str(k) for k in twins or ()]
    if unknown := [k for k in first if k not in photos]:
        raise ValueError(f"landmark {unknown[0]} has no photo in {folder / 'index.csv'}")
    order = [str(k) for k in rng.permutation(rich) if k not in first]
    picked = (first + order)[: 2 * (rows - 1)]
    strips = []
    for left, right in zip(picked[::2], picked[1::2], strict=True):
        cells = []
        for label, count in ((left, half), (right, columns - half)):
            ids = [str(i) for i in rng.permutation(photos[label])[:count]]
            ids += [""] * (count - len(ids))
            cells += [(i, names[label] if k == 0 else "") for k, i in enumerate(ids)]
        strips.append(_strip(folder, cells, columns))
    pool = [row["id"] for row in _read(folder / "non_landmark.csv")]
    others = [str(i) for i in rng.permutation(pool)[:columns]]
    cells = [(i, "No landmark" if k == 0 else "") for k, i in enumerate(others)]
    strips.append(_strip(folder, cells, columns))
    picture = np.vstack([*strips, np.full((MARGIN, strips[0].shape[1], 3), PAPER, np.uint8)])
    if not cv2.imwrite(str(path), picture):
        raise ValueError(f"cannot write {path}; expected a .png or .jpg file in an existing folder")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _strip(folder: Path, cells: list[tuple[str, str]], columns: int) -> Bytes:
    """Lay photos side by side, each caption above its photo; missing ones leave a gap."""
    width = 2 * MARGIN + columns * (TILE[0] + GAP) - GAP
    strip = np.full((TILE[1] + 2 * MARGIN - 8, width, 3), PAPER, np.uint8)
    for k, (image_id, caption) in enumerate(cells):
        x, y = MARGIN + k * (TILE[0] + GAP), 2 * MARGIN - 8
        if image_id:
            strip[y : y + TILE[1], x : x + TILE[0]] = _tile(folder / "images" / f"{image_id}.jpg")
        cv2.putText(strip, caption, (x, y - 7), cv2.FONT_HERSHEY_DUPLEX, 0.48, INK, 1, cv2.LINE_AA)
    return strip


def _tile(path: Path) -> Bytes:
    """Read a photo and cut its middle to the shape of a tile."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"no photo {path}; render the city again")
    h, w = image.shape[:2]
    cut_w, cut_h = min(w, round(h * TILE[0] / TILE[1])), min(h, round(w * TILE[1] / TILE[0]))
    x, y = (w - cut_w) // 2, (h - cut_h) * 2 // 5
    part = np.ascontiguousarray(image[y : y + cut_h, x : x + cut_w])
    return np.asarray(cv2.resize(part, TILE, interpolation=cv2.INTER_AREA), np.uint8)
