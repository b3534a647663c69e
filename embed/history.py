"""The record of a training: one row an epoch, written as history.csv and curves.png."""

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, float]


def save_history(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV; the first row names the columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["epoch"])
        writer.writeheader()
        writer.writerows([{name: f"{value:.6g}" for name, value in row.items()} for row in rows])


def plot_history(rows: Sequence[Row], path: Path) -> None:
    """Draw the losses and the validation metrics of each epoch into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses, metrics = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for name in ("triplet_loss", "head_loss"):
        losses.plot(epochs, [row[name] for row in rows], marker="o", label=name.replace("_", " "))
    for name in ("gap", "recall_at_1"):
        label = {"gap": "GAP", "recall_at_1": "recall@1"}[name]
        metrics.plot(epochs, [row[name] for row in rows], marker="o", label=label)
    losses.set(xlabel="epoch", title="Training loss", ylim=(0, None))
    metrics.set(xlabel="epoch", title="Held-out images", ylim=(0, 1.02))
    for axes in (losses, metrics):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    # No creation date in the file: two equal trainings give equal bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})
