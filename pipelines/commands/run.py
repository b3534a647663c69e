"""The command run: a recipe from the data to its report."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import Data, RecipeName, Time, Weights, Workers
from .start import start_job

if TYPE_CHECKING:
    from pipelines.reports.confusions import Confusions
    from pipelines.runs.job import Job

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe: train.epochs=3. Can be given several times.  "
        "\\[default: none]",
        show_default=False,
    ),
]
ScaleOption = Annotated[
    Literal["full", "small"] | None,
    typer.Option(
        help="small: minutes on a laptop, by the recipe's section \\[small].  "
        "\\[default: that of the run, else full]",
        show_default=False,
    ),
]


def run(
    data: Data = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Run folder.  \\[default: runs/<name of the dataset folder>-<recipe>, with -small "
            "at that scale; without a recipe as submit]",
            show_default=False,
        ),
    ] = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    time: Time = None,
    scale: ScaleOption = None,
    changes: Changes = None,
    workers: Workers = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that share each batch.")] = 1,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            help="Folder for TensorBoard's curves of the training; of an ensemble a folder in it "
            "for each model.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Do a recipe from its data to its report: all that submit does, and all it shows.

    Writes submission.csv, metrics.json, answers.jpg and report.html as submit, evaluate and report
    do, and predictions.csv, class_histogram.png, confusions.csv, confusion_matrix.png and, of
    matched photos, matches/. A picture that cannot be drawn is a warning.
    """
    if tensorboard is not None:
        from embed.history import require_tensorboard

        require_tensorboard()
    folder = pick_folder(data, run, recipe, scale)
    job = start_job(
        data,
        folder,
        recipe,
        weights,
        workers=workers,
        time=time,
        devices=devices,
        scale=scale,
        changes=changes or (),
        tensorboard=tensorboard,
    )
    written = make_report(job)
    print()
    for path in written:
        print(f"wrote {path}")


def pick_folder(
    data: Path | None, run: Path | None, recipe: str | None, scale: str | None
) -> Path | None:
    """Return the run folder: of a named recipe one of its own, so that five recipes have five."""
    if run is not None or recipe is None:
        return run
    from pipelines.runs.job import DEMO_DATA

    end = "-small" if scale == "small" else ""
    return Path("runs") / f"{(data or DEMO_DATA).resolve().name}-{Path(recipe).stem}{end}"


def make_report(job: "Job") -> list[Path]:
    """Do all stages of a job and print its figures; return what was written to look at.

    All tables come first: pictures and pages, each of which may fail, after them.
    """
    from pipelines.reports.confusions import write_confusions
    from pipelines.reports.run_figures import write_predictions
    from pipelines.reports.tables import print_run
    from pipelines.scores.evaluate import can_evaluate, evaluate_run
    from pipelines.stages import order

    with job.locked():
        order.submit(job)
        metrics = evaluate_run(job.run, job.dataset) if can_evaluate(job.dataset) else None
        if metrics is not None:
            print_run(metrics)
        written = [job.run / "submission.csv", write_predictions(job.run)]
        confusions = _count_confusions(job)
        if confusions is not None:
            written.append(write_confusions(confusions, job.run / "confusions.csv"))
        judged = metrics if job.dataset.find_table("solution") else None
        return [*written, *_draw_all(job, judged, confusions)]


def _count_confusions(job: "Job") -> "Confusions | None":
    """Count which landmarks are taken for which, where the dataset has a solution."""
    from pipelines.reports.confusions import count_confusions
    from pipelines.scores.evaluate import load_steps

    if job.dataset.find_table("solution") is None:
        return None
    return count_confusions(load_steps(job.run, job.dataset.solution)["final"])


def _draw_all(
    job: "Job", metrics: "Mapping[str, Any] | None", confusions: "Confusions | None"
) -> list[Path]:
    """Make all pictures and pages of a run, and return those that could be made."""
    from embed.history import CURVES
    from pipelines.decorations import draw, draw_missing
    from pipelines.reports.answers_sheet import draw_answers
    from pipelines.reports.confusions import draw_confusions
    from pipelines.reports.match_figures import write_match_figures
    from pipelines.reports.page.run_report import NAME, write_report
    from pipelines.reports.run_figures import write_class_histogram, write_events
    from pipelines.runs.artifact import SHEET
    from pipelines.runs.members import list_member_jobs
    from pipelines.stages.prepared_data import find_source

    run, before = job.run, job.open_dataset(find_source(job))
    histogram, matrix, matches = (
        run / name for name in ("class_histogram.png", "confusion_matrix.png", "matches")
    )
    curves = [member.run / "model" / CURVES for member in list_member_jobs(job)]
    if job.tensorboard:  # training does, too, unless it was done before
        draw(job.tensorboard, lambda: write_events(job))
    drawn = [
        *draw_missing(run / SHEET, lambda: draw_answers(job)),
        *draw(run / NAME, lambda: write_report(job, metrics)),
        *(path for path in curves if path.is_file()),
        *draw(histogram, lambda: write_class_histogram(before, job.dataset, histogram)),
    ]
    if confusions is not None:
        drawn += draw(matrix, lambda: draw_confusions(confusions, matrix))
    if job.recipe.rerank.method != "none":
        made = draw(matches, lambda: write_match_figures(job, matches))
        drawn += [folder for folder in made if any(folder.iterdir())]
    return drawn
