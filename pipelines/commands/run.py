"""The command run: a recipe from the data to its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..options import Data, RecipeName, Weights, Workers
from .start import start_job

if TYPE_CHECKING:
    from ..job import Job

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
    scale: ScaleOption = None,
    changes: Changes = None,
    workers: Workers = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that train together.")] = 1,
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

    Writes submission.csv, metrics.json and report.html as submit, evaluate and report do, and
    predictions.csv, class_histogram.png, confusions.csv, confusion_matrix.png and, of matched
    photos, matches/.
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
        workers,
        False,
        devices,
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
    from ..job import DEMO_DATA

    end = "-small" if scale == "small" else ""
    return Path("runs") / f"{(data or DEMO_DATA).resolve().name}-{Path(recipe).stem}{end}"


def make_report(job: "Job") -> list[Path]:
    """Do all stages of a job and print its figures; return what there is to look at."""
    from ..dataset import Dataset
    from ..evaluate import can_evaluate, evaluate_run
    from ..members import list_member_jobs
    from ..page.run_report import write_report
    from ..prepared_data import find_source
    from ..report import print_run
    from ..run_figures import write_class_histogram, write_events, write_predictions
    from ..submit import submit

    with job.locked():
        submit(job)
        write_events(job)  # training does, too, unless it was done before
        metrics = evaluate_run(job.run, job.dataset) if can_evaluate(job.dataset) else None
        if metrics is not None:
            print_run(metrics)
        histogram = job.run / "class_histogram.png"
        return [
            job.run / "submission.csv",
            write_predictions(job.run),
            write_report(job, metrics if job.dataset.find_table("solution") else None),
            *(member.run / "model" / "curves.png" for member in list_member_jobs(job)),
            write_class_histogram(Dataset(find_source(job)), job.dataset, histogram),
            *_count_confusions(job),
            *_draw_matches(job),
        ]


def _count_confusions(job: "Job") -> list[Path]:
    """Write which landmarks are taken for which, where the dataset has a solution."""
    from classify_head.submission import load_solution

    from ..confusions import count_confusions, draw_confusions, write_confusions
    from ..evaluate import load_steps

    path = job.dataset.find_table("solution")
    if path is None:
        return []
    found = count_confusions(load_steps(job.run, load_solution(path))["final"])
    return [
        write_confusions(found, job.run / "confusions.csv"),
        draw_confusions(found, job.run / "confusion_matrix.png"),
    ]


def _draw_matches(job: "Job") -> list[Path]:
    """Draw the local features that matched, where the recipe verifies by any."""
    if job.recipe.rerank.method == "none":
        return []
    from ..match_figures import write_match_figures

    folder = job.run / "matches"
    write_match_figures(job, folder)
    return [folder]
