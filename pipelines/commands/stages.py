"""The commands train, embed, index and submit: a run, stage by stage."""

from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    Data,
    Memory,
    MinPrecision,
    Recall,
    RecipeName,
    Redo,
    Run,
    Time,
    Weights,
    Workers,
)
from .start import start_job

if TYPE_CHECKING:
    from pipelines.runs.job import Job


def train(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    time: Time = None,
    workers: Workers = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that share each batch.")] = 1,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say what the training spends its time on.")
    ] = False,
    redo: Redo = False,
) -> None:
    """Train the descriptor model, and DELF where the recipe asks for it.

    Goes on after the last epoch of an interrupted training.
    """
    from pipelines.stages import order

    job = start_job(
        data, run, recipe, weights, workers=workers, time=time, devices=devices, profile=profile
    )
    with job.locked():
        order.train(job, redo=redo)


def embed(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    time: Time = None,
    workers: Workers = None,
    redo: Redo = False,
) -> None:
    """Turn every image into a global descriptor; trains first if need be."""
    from pipelines.stages import order

    job = start_job(data, run, recipe, weights, workers=workers, time=time)
    with job.locked():
        order.embed(job, redo=redo)


def index(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    time: Time = None,
    workers: Workers = None,
    min_precision: MinPrecision = None,
    memory: Memory = None,
    recall: Recall = None,
    redo: Redo = False,
) -> None:
    """Make all that queries are compared with: search index, local features, decision."""
    from pipelines.stages import order

    asked = {"search.memory": memory, "search.recall": recall}
    job = start_job(
        *(data, run, recipe, weights),
        workers=workers,
        time=time,
        min_precision=min_precision,
        changes=[f"{key}={value}" for key, value in asked.items() if value is not None],
    )
    with job.locked():
        order.index(job, redo=redo)


def submit(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    time: Time = None,
    workers: Workers = None,
    min_precision: MinPrecision = None,
    redo: Redo = False,
) -> None:
    """Do the whole job: every stage that is missing, submission.csv, and its figures."""
    from pipelines.decorations import draw_missing
    from pipelines.reports.tables import print_run
    from pipelines.runs.artifact import SHEET
    from pipelines.scores.evaluate import can_evaluate, evaluate_run
    from pipelines.stages import order

    job = start_job(
        data, run, recipe, weights, workers=workers, time=time, min_precision=min_precision
    )
    with job.locked():
        order.submit(job, redo=redo)
        if can_evaluate(job.dataset):
            print_run(evaluate_run(job.run, job.dataset))
        print()
        drawn = draw_missing(job.run / SHEET, lambda: _draw_answers(job))
    for path in (job.run / "submission.csv", *drawn):
        print(f"wrote {path}")


def _draw_answers(job: "Job") -> None:
    from pipelines.reports.answers_sheet import draw_answers  # faiss takes a fifth of a second

    draw_answers(job)
