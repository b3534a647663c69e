"""Draw photos and the maps that explain them side by side, one PNG a photo.

Knows no run and no network: pixels and maps in, a file out. The file names the content of the photo
it is of, so that another photo of the same name does not replace it.
"""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from embed.files import writing
from embed.transforms import Square
from pipelines.artifacts import hash_file
from pipelines.datasets.naming import make_id
from pipelines.lettering import spell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT, TITLE_HEIGHT = 3.3, 0.75  # inches, of a photo and of what stands above it
NARROWEST, WIDEST = 2.0, 5.0  # inches, of a panel; a photo of an extreme shape gets lower
LETTERS, LINES = 11, 4  # of a title: letters to an inch, and lines
PHOTO_SIDE = 480  # pixels that a panel needs of a photo
COLOURS = "inferno"  # dark to bright: read the same in grey, and by the colour-blind
SMALLEST = 1e-30  # top of a map, so that one of zeros is dark, not bright
MARK = "Photo"  # key of the PNG's text that holds the sha256 of the photo


@dataclass(frozen=True, eq=False)
class Panel:
    """A photo, with a map over the part of it that the network sees."""

    title: str
    pixels: NDArray[np.uint8]  # [H, W, 3] RGB
    heat: NDArray[np.float32] | None = None  # [h, w], >= 0
    top: float = 1.0  # value that is drawn brightest, with all above it
    opacity: float = 0.55  # of the map


def draw_panels(panels: Sequence[Panel], square: Square, photo: Path, path: Path) -> None:
    """Draw panels in one row.

    Args:
        panels: at least one.
        square: how the network's view was made of the photo, see embed.transforms.resize_image.
        photo: that is explained; its content is noted in the file.
        path: the .png file to write, of pick_path.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shapes = [panel.pixels.shape for panel in panels]
    widths = [min(max(HEIGHT * w / h, NARROWEST), WIDEST) for h, w, _ in shapes]
    size = (sum(widths), HEIGHT + TITLE_HEIGHT)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axes, panel, width in zip(row, panels, widths, strict=True):
        _draw_panel(axes, panel, square)
        lines = textwrap.wrap(
            spell(panel.title), int(width * LETTERS), max_lines=LINES, placeholder=" …"
        )
        # Names come from anybody: "$" is no formula.
        axes.set_title("\n".join(lines), fontsize=9, loc="left", parse_math=False)
    # No version in the file: two equal explanations give equal bytes.
    marks: dict[str, str | None] = {"Software": None, MARK: hash_file(photo)}
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata=marks)


def pick_path(folder: Path, photo: Path) -> Path:
    """Return where the explanation of a photo goes: <stem>.png, or <stem>-2.png and so on.

    Of a stem that is too long, or no text, what naming.make_id makes of it.

    A file that is there is written over only if it explains the same photo.
    """
    digest = hash_file(photo)
    for number in itertools.count(1):
        path = folder / f"{make_id(photo.stem)}{'' if number == 1 else f'-{number}'}.png"
        if not path.exists() or _read_mark(path) == digest:
            return path
    raise AssertionError("there is always a next number")


def _read_mark(path: Path) -> str | None:
    """Return the sha256 of the photo that a file explains; None if it is no explanation."""
    try:
        with Image.open(path) as image:
            return image.info.get(MARK)
    except (UnidentifiedImageError, OSError):
        return None


def _draw_panel(axes: "Axes", panel: Panel, square: Square) -> None:
    axes.imshow(panel.pixels)
    if panel.heat is not None:
        axes.imshow(
            panel.heat,
            extent=find_extent((panel.pixels.shape[0], panel.pixels.shape[1]), square),
            cmap=COLOURS,
            vmin=0,
            vmax=max(panel.top, SMALLEST),
            alpha=panel.opacity,
        )
    height, width = panel.pixels.shape[:2]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    axes.set_anchor("N")  # titles above their photos, at one height


def find_extent(size: tuple[int, int], square: Square) -> tuple[float, float, float, float]:
    """Return the part of a photo that becomes the network's view.

    Args:
        size: (height, width) of the photo in pixels.
        square: how the view is made of it.

    Returns:
        Left, right, bottom, top edge in pixels of the photo, centre of the first pixel = 0.

    >>> find_extent((4, 10), "crop")
    (2.5, 6.5, 3.5, -0.5)
    """
    height, width = size
    if square != "crop":
        return -0.5, width - 0.5, height - 0.5, -0.5
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return left - 0.5, left + side - 0.5, top + side - 0.5, top - 0.5
