"""Draw a sample of answers: each query beside the database images that speak for its answer.

Reads the images of the sample. Writes one JPEG.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from embed.decode import ImageError, decode_image
from embed.image_file import ImageFile
from pipelines.lettering import write_line
from pipelines.tiles import fill_tile

TILE = (208, 156)  # pixels, width and height of a picture
GAP, CAPTION, MARGIN = 8, 40, 20  # pixels
PAPER, INK, SOFT = (250, 250, 249), (46, 52, 60), (120, 126, 134)
ANSWERED, REJECTED = (34, 140, 84), (170, 110, 30)  # of an answer, and of "no known landmark"


@dataclass(frozen=True)
class Picture:
    """One image and its caption."""

    path: ImageFile
    title: str
    note: str
    answered: bool | None = None  # colours the title of a query; None for a database image


def draw_gallery(rows: Sequence[Sequence[Picture]], path: Path) -> None:
    """Draw rows of pictures, the first of each row set apart as the query.

    Args:
        rows: at least one, each with at least one picture.
        path: the .jpg file to write.
    """
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * (TILE[0] + GAP) + 2 * GAP
    height = 2 * MARGIN + len(rows) * (TILE[1] + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, row in enumerate(rows):
        top = MARGIN + line * (TILE[1] + CAPTION + GAP)
        for column, picture in enumerate(row):
            left = MARGIN + column * (TILE[0] + GAP) + (2 * GAP if column else 0)
            sheet.paste(_thumbnail(picture.path), (left, top))
            colour = {None: INK, True: ANSWERED, False: REJECTED}[picture.answered]
            size = 15 if picture.answered is not None else 13
            below = top + TILE[1]
            write_line(draw, (left, below + 12), picture.title, size, colour, width=TILE[0])
            write_line(draw, (left, below + 29), picture.note, 12, SOFT, width=TILE[0])
    sheet.save(path, quality=88)


def spread(confidences: Sequence[float], count: int) -> list[int]:
    """Return the rows of queries from the surest to the least sure, evenly spread.

    >>> spread([0.1, 0.9, 0.5, 0.7, 0.3], 3)
    [1, 2, 0]
    """
    order = np.argsort(-np.asarray(confidences), kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(order[place]) for place in dict.fromkeys(places.tolist())]


def _thumbnail(path: ImageFile) -> Image.Image:
    """Return the middle of an image at the size of a tile; grey if it cannot be read."""
    try:
        image = Image.fromarray(decode_image(path, min_side=TILE[0]).pixels)
    except ImageError:
        return Image.new("RGB", TILE, (200, 200, 200))
    return fill_tile(image, TILE)
