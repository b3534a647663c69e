"""Write what a report shows of a run beside its submission: predictions, class sizes.

Reads predictions.parquet and the tables of the datasets. Writes predictions.csv and
class_histogram.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.files import writing
from embed.history import Row, load_rows, write_tensorboard
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.class_sizes import ClassSizes, describe_sizes
from pipelines.runs.integrity import intact_file, intact_output
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, GREY = "#1f5fa8", "#6f6f6f"
RECORDS = ("history.csv", "metrics.csv")  # of a training, by epoch and by step
FLOOR = 0.7  # where bars begin on a logarithmic axis, whose first line is 1


def write_predictions(run: Path) -> Path:
    """Write what the classification head says of each test image, and return where.

    predictions.csv has a row a test image, by id: image_id, landmark_id, probability; no landmark
    where the image could not be read.
    """
    table = pq.read_table(intact_output(run, "predictions.parquet"))
    labels = table["head_only_label"]
    rows = pa.table(
        {
            "image_id": table["query_id"],
            "landmark_id": pc.if_else(pc.greater_equal(labels, 0), labels, None),
            "probability": table["head_only_confidence"],
        }
    )
    path = run / "predictions.csv"
    with writing(path) as temporary:
        pa.csv.write_csv(rows, temporary, pa.csv.WriteOptions(quoting_style="needed"))
    return path


def write_class_histogram(before: Dataset, after: Dataset, path: Path) -> Path:
    """Draw how many training images landmarks have, before and after a selection.

    The same dataset twice is drawn once.
    """
    sizes = {"before": _measure(before), "after": _measure(after)}
    if before.folder.resolve() == after.folder.resolve():
        sizes = {"all": sizes["after"]}
    with writing(path) as temporary:
        draw_class_histogram(sizes, temporary)
    return path


def _measure(dataset: Dataset) -> ClassSizes:
    return describe_sizes(
        np.unique(dataset.load_split(dataset.class_split).landmark_ids, return_counts=True)[1]
    )


def draw_class_histogram(sizes: dict[str, ClassSizes], path: Path) -> None:
    """Draw a histogram for each name, side by side on the same axes, into a PNG.

    Equal sizes give equal bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(sizes), 3.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for (name, found), axes in zip(sizes.items(), panels, strict=True):
        _draw_bins(axes, found)
        axes.set_title(f"{name}: {found.classes:,} landmarks, {found.images:,} images", loc="left")
    panels[0].set(ylabel="landmarks")
    # No version in the file: two equal runs give equal bytes.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_bins(axes: "Axes", sizes: ClassSizes) -> None:
    """Draw the bins as steps; edges lie midway between sizes, so a size is within its bar."""
    bins = sizes.histogram
    edges = [(max(bin.low - 1, 0.5) * bin.low) ** 0.5 for bin in bins]
    edges.append((bins[-1].high * (bins[-1].high + 1)) ** 0.5)
    counts: NDArray[np.float64] = np.maximum([bin.classes for bin in bins], FLOOR)
    axes.stairs(counts, edges, baseline=FLOOR, fill=True, color=BLUE, alpha=0.75)
    axes.axvline(sizes.median, color=GREY, linestyle="--", label=f"median {sizes.median:,}")
    axes.set(xscale="log", yscale="log", xlabel="training images of a landmark")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write_events(job: Job) -> None:
    """Write TensorBoard's events of every model of a finished run, if they are wanted."""
    for member in list_member_jobs(job):
        if member.tensorboard:
            write_tensorboard(*load_training(member.run), member.tensorboard)


def load_training(run: Path) -> tuple[list[Row], list[Row]]:
    """Return what a training recorded, by epoch and by step. Errors as intact_file."""
    history, steps = (intact_file(run / "model", name) for name in RECORDS)
    return load_rows(history), load_rows(steps)
