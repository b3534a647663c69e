"""Draw the curves of coverage.py and reliability.py into image files.

Writes one file a call, PNG or SVG by its suffix. Equal figures give equal bytes: no date, no
version and no random ids get into a file. Figures are drawn without pyplot, which would keep
every one of them in a global list.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .coverage import OperatingPoint, RiskCoverage
from .reliability import ReliabilityBins

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d1570a", "#6f6f6f"
METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


def plot_reliability(bins: ReliabilityBins, path: Path) -> None:
    """Draw observed against claimed shares of right answers, above the answers a bin.

    Args:
        bins: with Wilson's 95 percent intervals, drawn as bars.
        path: ends in .png or .svg; written over.

    Raises:
        ValueError: for another suffix.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, figure 1.
    """
    figure = _new_figure(path, width=5, height=6)
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    shares.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    ends = np.array([bins.share_right - bins.low, bins.high - bins.share_right])
    shares.errorbar(
        bins.mean_probability,
        bins.share_right,
        # Wilson's interval holds the share, up to a rounding error that errorbar would refuse.
        yerr=np.maximum(ends, 0),
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.2,
        elinewidth=1,
        capsize=3,
        label="answers, 95 % interval",
    )
    title = f"ECE {bins.expected_error:.3f}, worst bin {bins.maximum_error:.3f}"
    shares.set(ylabel="share of right answers", ylim=(-0.02, 1.02), title=title)
    counts.vlines(bins.mean_probability, 0, bins.counts, color=BLUE, linewidth=4)
    counts.set(xlabel="claimed probability", ylabel="answers", xlim=(-0.02, 1.02))
    counts.set_ylim(0, 1.15 * bins.counts.max())
    for axes in (shares, counts):
        _tidy(axes)
    _save(figure, path)


def plot_risk_coverage(
    curve: RiskCoverage, path: Path, *, point: OperatingPoint | None = None
) -> None:
    """Draw the risk at every coverage, beside that of the same answers in the best order.

    The ideal curve goes on to a coverage of 1, the drawn one ends where the answers do.

    Args:
        curve: of one set of answers.
        path: ends in .png or .svg; written over.
        point: marked on the curve, unless it answers nothing.

    Raises:
        ValueError: for another suffix.
    """
    figure = _new_figure(path, width=6, height=4)
    axes = figure.subplots()
    every = np.arange(1, curve.n_queries + 1) / curve.n_queries
    axes.plot(every, curve.ideal_risk, color=GREY, linestyle="--", linewidth=1, label="best order")
    risk = 1 - curve.precision
    marker = "o" if len(risk) < 30 else None  # few points, as where many tie, are each shown
    top = max(risk.max(initial=0), curve.ideal_risk[-1], 0.05)
    axes.plot(curve.coverage, risk, color=BLUE, marker=marker, markersize=4, label="answers")
    if point is not None and point.answered:
        label = f"precision {point.precision:.1%} at coverage {point.coverage:.1%}"
        place = [point.coverage], [1 - point.precision]
        axes.plot(*place, "o", color=ORANGE, markersize=8, zorder=3, label=label)
    axes.set(
        xlabel="coverage: share of all queries that is answered",
        ylabel="risk: share of answers that is wrong",
        title=f"AURC {curve.area:.3f}, in the best order {curve.ideal_area:.3f}",
        xlim=(0, 1.01),
        ylim=(-0.02 * top, 1.05 * top),
    )
    _tidy(axes)
    _save(figure, path)


def _new_figure(path: Path, *, width: float, height: float) -> "Figure":
    """Return an empty figure of that size in inches, after a look at where it is to go."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if path.suffix not in METADATA:
        raise ValueError(f"{path} ends in {path.suffix!r}, expected .png or .svg")
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: "Axes") -> None:
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", path: Path) -> None:
    """Add the legend and write the file."""
    from matplotlib import rc_context

    # Outside, for there is no corner that a curve can't reach.
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    # Without a salt, the ids inside an SVG are random.
    with rc_context({"svg.hashsalt": "cairn"}):
        figure.savefig(path, dpi=120, metadata=METADATA[path.suffix])
