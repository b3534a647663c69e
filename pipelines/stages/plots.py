"""Draw what became of a training and of a decision: pictures that no stage needs.

Reads history.csv and metrics.csv of model/, known_queries.parquet of decision/. Writes curves.png
and reliability.png there. Imports what draws only where something is to be drawn.
"""

from functools import partial
from pathlib import Path

import numpy as np

from classify_head.reliability import reliability_bins
from embed.files import writing
from embed.history import CURVES, load_rows, plot_history
from pipelines.answers.decision import load_known_answers
from pipelines.decorations import draw_missing
from pipelines.runs.job import Job
from pipelines.runs.members import list_members
from pipelines.runs.networks import is_trained

RELIABILITY = "reliability.png"  # in decision/


def draw_missing_curves(job: Job) -> None:
    """Draw curves.png of each finished model of a run that has none: it failed, or was deleted."""
    for run in list_members(job.run, job.recipe):
        if is_trained(run):
            draw_missing(run / "model" / CURVES, partial(draw_curves, run / "model"))


def draw_curves(folder: Path) -> None:
    """Draw how the training of a finished model went."""
    history, metrics = load_rows(folder / "history.csv"), load_rows(folder / "metrics.csv")
    with writing(folder / CURVES) as temporary:
        plot_history(history, temporary, metrics)


def draw_reliability(run: Path) -> None:
    """Draw what the confidences of a decision are worth; nothing without a known query."""
    known = load_known_answers(run)
    if not known.query_ids:
        return
    from classify_head.plots import plot_reliability  # matplotlib takes a second

    with writing(run / "decision" / RELIABILITY) as temporary:
        bins = reliability_bins(known.correct, np.clip(known.confidences, 0, 1))
        plot_reliability(bins, temporary)
