"""Draw the report on a dataset: class sizes before and after filtering, image and file sizes.

Writes one PNG. Equal reports give equal bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.datasets.facts.class_sizes import ClassSizes, SizeBin
from pipelines.datasets.facts.image_sizes import TINY, Measured
from pipelines.lettering import spell

from .data_report import Facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

BLUE, ORANGE, GREY = "#1f5fa8", "#d1570a", "#6f6f6f"
MARKED = (10, 50, 90)  # per cent of the landmarks
FLOOR = 0.7  # where bars begin on a logarithmic axis, whose first line is 1
DRAWN = 5000  # images whose shapes are shown; more would hide one another
LONGEST = 28  # letters of a name
LABEL_WIDTH = 0.15  # of the axes, of what is written beside a line
NARROW = 5.0  # largest to smallest value, below which an axis is linear


def draw_report(facts: Facts, measured: Measured, path: Path) -> None:
    """Draw the figure of a report into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([["sizes", "sizes"], ["shapes", "files"]], height_ratios=(5, 4))
    _draw_sizes(axes["sizes"], facts)
    readable = measured.readable
    _draw_shapes(axes["shapes"], measured.sizes[readable])
    _draw_files(axes["files"], measured.bytes[readable] / 1e3)
    for panel in axes.values():
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    # No version in the file: two equal reports give equal bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_sizes(axes: "Axes", facts: Facts) -> None:
    name, after = next(iter(facts.sizes.items()))
    axes.set(xscale="log", yscale="log")
    if facts.before is not None:
        before = facts.before.sizes
        label = f"before: {_cut(facts.before.name)}, {before.classes:,} landmarks"
        _draw_bins(axes, before.histogram, label, GREY, 0.35)
    _draw_bins(axes, after.histogram, f"{name}, {after.classes:,} landmarks", BLUE, 0.75)
    axes.set(xlabel="images of a landmark", ylabel="landmarks")
    axes.set_title("How many images landmarks have", loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        _number(axis)
    _mark_percentiles(axes, after)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2)


def _cut(name: str) -> str:
    """Return a folder's name as a legend can hold it: short, no formula, no missing letters."""
    shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return spell(shown).replace("$", r"\$")


def _draw_bins(
    axes: "Axes", bins: Sequence[SizeBin], label: str, colour: str, alpha: float
) -> None:
    """Draw the bins as steps; edges lie midway between sizes, so a size is within its bar."""
    edges = [(max(bin.low - 1, 0.5) * bin.low) ** 0.5 for bin in bins]
    edges.append((bins[-1].high * (bins[-1].high + 1)) ** 0.5)
    counts = np.maximum([bin.classes for bin in bins], FLOOR)
    axes.stairs(counts, edges, baseline=FLOOR, fill=True, color=colour, alpha=alpha, label=label)
    axes.stairs(counts, edges, baseline=FLOOR, color=colour)


def _mark_percentiles(axes: "Axes", sizes: ClassSizes) -> None:
    """Draw a line at some percentiles, with its label above the bars and right of it.

    Lines further right are shorter, so that no label crosses one.
    """
    found = dict(sizes.percentiles)
    left, right = axes.get_xlim()
    last = found[MARKED[-1]]
    room = (last / left**LABEL_WIDTH) ** (1 / (1 - LABEL_WIDTH))
    axes.set_xlim(left, max(right, room))
    axes.set_ylim(FLOOR, FLOOR * (axes.get_ylim()[1] / FLOOR) ** 1.35)
    for number, percent in enumerate(MARKED):
        height = 0.97 - 0.07 * number
        axes.axvline(found[percent], 0, height, color=ORANGE, linewidth=1.2, linestyle="--")
        axes.annotate(
            f"{percent} %: at most {found[percent]:,}",
            (found[percent], height),
            xycoords=axes.get_xaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            va="top",
            color=ORANGE,
        )


def _draw_shapes(axes: "Axes", sizes: NDArray[np.int64]) -> None:
    axes.set(xlabel="width, pixels", ylabel="height, pixels")
    axes.set_title("Sizes of images", loc="left")
    if not len(sizes):
        _draw_nothing(axes)
        return
    sizes = sizes[np.linspace(0, len(sizes) - 1, min(DRAWN, len(sizes))).astype(int)]
    distinct, counts = np.unique(sizes, axis=0, return_counts=True)
    areas = 12 + 200 * counts / counts.max() if len(distinct) < len(sizes) else 12
    axes.scatter(distinct[:, 0], distinct[:, 1], s=areas, color=BLUE, alpha=0.4, linewidth=0)
    _scale(axes, "x", sizes[:, 0])
    _scale(axes, "y", sizes[:, 1])
    if sizes.min() < TINY:
        for line in (axes.axvline, axes.axhline):
            line(TINY, color=ORANGE, linewidth=1.2, linestyle="--")


def _draw_files(axes: "Axes", kilobytes: NDArray[np.float64]) -> None:
    axes.set(xlabel="kB", ylabel="images")
    axes.set_title("Sizes of files", loc="left")
    if not len(kilobytes):
        _draw_nothing(axes)
        return
    low, high = max(kilobytes.min(), 1e-3), max(kilobytes.max(), 2e-3)
    wide = high / low >= NARROW
    edges = np.geomspace(low, high, 31) if wide else np.linspace(0, high, 31)
    edges[-1] = np.nextafter(high, np.inf)
    counts = np.histogram(kilobytes, edges)[0]
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.75)
    _scale(axes, "x", kilobytes)


def _scale(axes: "Axes", name: str, values: NDArray[np.floating | np.int64]) -> None:
    """Make the axis x or y logarithmic where its values differ much; else let it begin at 0."""
    if values.max() >= NARROW * max(values.min(), 1e-3):
        axes.set(**{f"{name}scale": "log"})
        _number(getattr(axes, f"{name}axis"))
    else:
        axes.set(**{f"{name}lim": (0, 1.1 * values.max())})


def _number(axis: "Axis") -> None:
    """Label the ticks of a logarithmic axis 1, 10, 100, or 1, 2, 5, 10, instead of powers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < 1000 * max(low, 1e-9) else (1.0,)
    ticks = [tick for tick in LogLocator(subs=subs).tick_values(low, high) if low <= tick <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def _draw_nothing(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "no image could be read", ha="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
