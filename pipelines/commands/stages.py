"""The commands train, embed, index and submit: a run, stage by stage."""

from typing import Annotated

import typer

from .options import Data, MinPrecision, RecipeName, Redo, Run, Weights, Workers
from .start import start_job


def train(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that train together.")] = 1,
    redo: Redo = False,
) -> None:
    """Train the descriptor model, and DELF where the recipe asks for it.

    Goes on after the last epoch of an interrupted training.
    """
    from pipelines.stages.train import draw_missing_curves
    from pipelines.stages.train import train as train_stage

    job = start_job(data, run, recipe, weights, workers=workers, redo=redo, devices=devices)
    with job.locked():
        draw_missing_curves(job)
        train_stage(job)
        if job.recipe.rerank.method == "delf":
            from pipelines.stages.train_delf import train_local_features

            train_local_features(job)


def embed(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    redo: Redo = False,
) -> None:
    """Turn every image into a global descriptor; trains first if need be."""
    from pipelines.stages.embed import embed_split
    from pipelines.stages.features import extract_split
    from pipelines.stages.known_queries import prepare_held_out

    job = start_job(data, run, recipe, weights, workers=workers, redo=redo)
    with job.locked():
        for split in (job.dataset.database_split, "test", "non_landmark"):
            if job.dataset.find_table(split):
                embed_split(job, split)
                if job.redo and job.recipe.rerank.method != "none":
                    extract_split(job, split)  # of the same images, which have changed
        if job.redo:
            prepare_held_out(job)


def index(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    min_precision: MinPrecision = None,
    redo: Redo = False,
) -> None:
    """Make all that queries are compared with: search index, local features, decision."""
    from pipelines.stages.index import index_database

    job = start_job(
        data, run, recipe, weights, workers=workers, redo=redo, min_precision=min_precision
    )
    with job.locked():
        index_database(job)


def submit(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    min_precision: MinPrecision = None,
    redo: Redo = False,
) -> None:
    """Do the whole job: everything above that is missing, submission.csv, and its figures."""
    from pipelines.decorations import draw_missing
    from pipelines.reports.answers_sheet import SHEET, draw_answers
    from pipelines.reports.tables import print_run
    from pipelines.scores.evaluate import can_evaluate, evaluate_run
    from pipelines.stages.submit import submit as submit_stage
    from pipelines.stages.train import draw_missing_curves

    job = start_job(
        data, run, recipe, weights, workers=workers, redo=redo, min_precision=min_precision
    )
    with job.locked():
        draw_missing_curves(job)
        submit_stage(job)
        if can_evaluate(job.dataset):
            print_run(evaluate_run(job.run, job.dataset))
        print()
        drawn = draw_missing(job.run / SHEET, lambda: draw_answers(job))
    for path in (job.run / "submission.csv", *drawn):
        print(f"wrote {path}")
