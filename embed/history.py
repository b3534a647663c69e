"""The record of a training: a row an epoch and a row every few steps, as tables and pictures.

Writes history.csv, metrics.csv, curves.png, and event files for TensorBoard where they are wanted.
"""

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import InputError, install_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Epochs: epoch, triplet_loss, head_loss, top1 (share of the training images whose class the head
# told, in spite of its margin if it has one), and of held-out images gap, gap_error, gap_unseen
# (of landmarks that are not trained on), recall_at_1, head_top1; nan or absent if unknown.
Row = dict[str, float]
STEP_COLUMNS = ("step", "epoch", "learning_rate", "triplet_loss", "head_loss", "top1")

LOSSES = {"triplet_loss": "metric loss", "head_loss": "head loss", "local_loss": "local loss"}
SHARES = {
    "gap": "GAP, held-out",
    "gap_unseen": "GAP, landmarks not trained on",
    "recall_at_1": "recall@1, held-out",
    "head_top1": "top-1 of the head, held-out",
    "top1": "top-1 of the head, training",
}
STEP_SMOOTHING, EPOCH_SMOOTHING = 0.9, 0.6  # of the curves: weight of what came before
EVENTS = ".cairn"  # ends the names of our event files
CURVES = "curves.png"  # in the folder of a model


def save_history(rows: Sequence[Row], path: Path) -> None:
    """Write a row an epoch as CSV, the columns in the order that rows first have them.

    What a row lacks is left empty: an older one, say, of a training that was resumed.
    """
    _save_rows(rows, list(dict.fromkeys(name for row in rows for name in row)) or ["epoch"], path)


def save_steps(rows: Sequence[Row], path: Path) -> None:
    """Write a row every few steps as CSV: the STEP_COLUMNS, then what else rows have."""
    found = (name for row in rows for name in row)
    _save_rows(rows, list(dict.fromkeys([*STEP_COLUMNS, *found])), path)


def load_rows(path: Path) -> list[Row]:
    """Read rows that save_history or save_steps wrote; of cells that are empty, nothing."""
    with path.open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def _save_rows(rows: Iterable[Row], columns: Sequence[str], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([{name: _text(value) for name, value in row.items()} for row in rows])


def _text(value: float) -> str:
    # Six digits would make two steps beyond a million one.
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Return the exponential moving average up to each value; one that is not finite stays nan.

    The average starts at 0 and is divided by the share of the weights that values have had so far,
    as in TensorBoard, so it neither starts at 0 nor hangs on to the first value.

    Args:
        values: of any number of steps.
        weight: of what came before, 0 (no smoothing) to below 1.

    >>> smooth([1.0, 3.0, float("nan"), 3.0], 0.5)
    [1.0, 2.3333333333333335, nan, 2.7142857142857144]
    """
    average, count, smoothed = 0.0, 0, []
    for value in values:
        if math.isfinite(value):
            average, count = weight * average + (1 - weight) * value, count + 1
            smoothed.append(average / (1 - weight**count))
        else:
            smoothed.append(math.nan)
    return smoothed


def plot_history(rows: Sequence[Row], path: Path, steps: Sequence[Row] = ()) -> None:
    """Draw the losses and what was judged into a PNG; equal rows give equal bytes.

    Args:
        rows: one an epoch. A column that no row has a finite value of is left out.
        path: of the PNG; written over.
        steps: one every few steps. With them the losses are theirs; without, those of the epochs.

    Every curve is smoothed, its values as they were faint behind it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses, shares = figure.subplots(1, 2)
    for column, label in LOSSES.items():
        _draw(losses, steps or rows, column, label)
    for column, label in SHARES.items():
        _draw(shares, rows, column, label)
    losses.set(xlabel="step" if steps else "epoch", title="Training loss, smoothed", ylim=(0, None))
    shares.set(xlabel="epoch", title="Right answers, smoothed", ylim=(0, 1.02))
    for axes in (losses, shares):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    # No creation date in the file: two equal trainings give equal bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw(axes: "Axes", rows: Sequence[Row], column: str, label: str) -> None:
    """Draw a column over the steps of rows, or epochs if they have none, smoothed; nan is a gap."""
    values = [row.get(column, math.nan) for row in rows]
    values = [value if math.isfinite(value) else math.nan for value in values]
    if all(map(math.isnan, values)):
        return
    by_step = "step" in rows[0]
    places = [row["step" if by_step else "epoch"] for row in rows]
    smoothed = smooth(values, STEP_SMOOTHING if by_step else EPOCH_SMOOTHING)
    (line,) = axes.plot(places, smoothed, label=label)
    axes.plot(
        places,
        values,
        color=line.get_color(),
        alpha=0.3,
        linewidth=0.8,
        marker="" if by_step else "o",
        markersize=4,
        zorder=1,
    )


def require_tensorboard() -> None:
    """Raise InputError if TensorBoard is not installed: before a training, not after an epoch."""
    if find_spec("tensorboard") is None:
        raise InputError(f"TensorBoard is not installed; {install_extra('tensorboard')}")


def write_tensorboard(rows: Sequence[Row], steps: Sequence[Row], folder: Path) -> None:
    """Write the record as TensorBoard's event files, in place of those written here before.

    The columns are scalars: epochs/<column> at each epoch, steps/<column> at each step.

    Args:
        rows: one an epoch.
        steps: one every few steps.
        folder: made if need be; other files in it are left alone.

    Raises:
        InputError: TensorBoard is not installed.
    """
    require_tensorboard()
    # TensorBoard's own switch: otherwise it loads TensorFlow, where that is installed, to write a
    # local file (measured: 5.6 s instead of 1.4 s, and log lines amid the progress).
    switch = "tensorboard.compat.notf"
    sys.modules.setdefault(switch, ModuleType(switch))
    from torch.utils.tensorboard import SummaryWriter

    old = list(folder.glob(f"events.out.tfevents.*{EVENTS}"))
    with SummaryWriter(folder, filename_suffix=EVENTS) as writer:
        for prefix, axis, table in (("epochs", "epoch", rows), ("steps", "step", steps)):
            for row in table:
                for name, value in row.items():
                    if name not in ("epoch", "step"):
                        writer.add_scalar(f"{prefix}/{name}", value, int(row[axis]))
    for path in old:  # only now: a writing that fails leaves them
        path.unlink()
