"""The command data clean: a dataset of the training images that others of their class confirm."""

from pathlib import Path
from typing import Annotated

import typer

from embed.errors import MissingFileError

from .start import start_job


def clean(
    run: Annotated[Path, typer.Argument(help="Run folder, whose dataset is cleaned.")],
    into: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  \\[default: <dataset of the run>-clean]",
            show_default=False,
        ),
    ] = None,
    min_verified: Annotated[
        int, typer.Option(min=1, help="How many images of its class must confirm an image.")
    ] = 2,
    min_inliers: Annotated[
        int, typer.Option(min=1, help="Inliers by which an image confirms another.")
    ] = 30,
) -> None:
    """Write a run's dataset anew without training images that too few of their class confirm."""
    from pipelines.runs.job import read_run
    from pipelines.stages import order
    from rerank.cleaning import CleaningSettings

    if read_run(run) is None:
        raise MissingFileError(
            f"no run in {run}; make one of the dataset first: cairn embed --data FOLDER --run {run}"
        )
    job = start_job(None, run, None, None, workers=None)
    folder = into or job.data.with_name(f"{job.data.name}-clean")
    settings = CleaningSettings(min_images=min_verified, min_inliers=min_inliers)
    with job.locked():
        kept = order.clean(job, folder, settings)
    print(
        f"{folder}: {kept.images} of {kept.of_images} training images "
        f"({kept.images / kept.of_images:.0%}) and {kept.landmarks} of {kept.of_landmarks} "
        "landmarks kept; rejected.csv says why not the others"
    )
