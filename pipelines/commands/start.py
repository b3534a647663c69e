"""Open the job that the options of a command name."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..job import Job


def start_job(
    data: Path | None,
    run: Path | None,
    recipe: str | None,
    weights: Path | None,
    workers: int | None,
    redo: bool,
    devices: int = 1,
    min_precision: float | None = None,
) -> "Job":
    """Return the job that the options name; its dataset is there, and checked.

    The demo city is rendered if need be. Raises what open_job and Dataset.check raise.
    """
    from ..job import count_workers, is_demo, open_job

    job = open_job(
        data,
        run,
        recipe,
        weights,
        workers=count_workers() if workers is None else workers,
        devices=devices,
        redo=redo,
    )
    if is_demo(job.data):
        from ..data import render_demo

        render_demo(job.data)
    job.dataset.check()
    if min_precision is not None:
        decide = job.recipe.decide.model_copy(update={"min_precision": min_precision})
        job = replace(job, recipe=job.recipe.model_copy(update={"decide": decide}))
    return job
