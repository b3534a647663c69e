"""The commands evaluate, report, compare and ablate."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from embed.errors import InputError, MissingFileError

from .options import Data, Run


def evaluate(
    data: Data = None,
    run: Run = None,
    submission: Annotated[
        Path | None, typer.Option(help="Anybody's submission.csv.", show_default=False)
    ] = None,
    solution: Annotated[
        Path | None, typer.Option(help="The solution.csv to score it with.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Score a run, or any submission, and say where the lost GAP went and what it is worth."""
    from pipelines.reports.tables import print_run
    from pipelines.runs.job import open_job
    from pipelines.scores.evaluate import evaluate_files, evaluate_run

    if (submission is None) != (solution is None):
        raise InputError("--submission and --solution go together; or name a --run")
    if submission is not None and solution is not None:
        metrics = evaluate_files(submission, solution)
    else:
        job = open_job(data, run, None, None)
        metrics = evaluate_run(job.run, job.dataset)
    if as_json:
        print(json.dumps(metrics, indent=2))
    else:
        print_run(metrics)


def report(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder.  \\[default: runs/demo]", show_default=False),
    ] = None,
    data: Data = None,
) -> None:
    """Write report.html of a run: its figures, its errors and their photos, with match lines."""
    from pipelines.reports.page.run_report import write_report
    from pipelines.runs.job import find_moved, open_job, pick_run
    from pipelines.scores.evaluate import evaluate_run

    run = pick_run(None, run)
    job = open_job(find_moved(data, run), run, None, None)
    judged = job.dataset.find_table("solution")
    print(f"wrote {write_report(job, evaluate_run(job.run, job.dataset) if judged else None)}")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Two runs, or submission.csv files; or one run, with --steps."),
    ],
    steps: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Two steps of the one run: head_only, knn, reranked, final.",
            show_default=False,
        ),
    ] = None,
    solution: Annotated[
        Path | None,
        typer.Option(
            help="The solution.csv to score both with.  \\[default: that of the run's dataset]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures and all queries as JSON.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Page to write, with a sample of photos and the answers of both runs.  "
            "\\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Tell whether the second of two runs, or steps, is better by more than chance."""
    from pipelines.reports.tables import open_console, print_comparison
    from pipelines.scores.compare import compare_runs, compare_steps

    if len(runs) != (1 if steps else 2):
        raise InputError(f"{len(runs)} named; name two runs, or one run and two --steps of it")
    if gone := [run for run in runs if not run.exists()]:
        raise MissingFileError(
            f"no run in {gone[0]}, and no file there; name folders of finished runs"
        )
    if html is not None and (steps or not all(run.is_dir() for run in runs)):
        raise InputError("--html shows the photos of two runs: name two run folders, no --steps")
    if steps:
        compared = compare_steps(runs[0], *steps, solution)
    else:
        compared = compare_runs(runs[0], runs[1], solution)
    if as_json:
        print(json.dumps(asdict(compared), indent=2, ensure_ascii=False))
    else:
        print_comparison(compared, open_console())
    if html is not None:
        from pipelines.reports.page.side_by_side import write_side_by_side
        from pipelines.runs.job import open_job

        job_a, job_b = (open_job(None, run, None, None) for run in runs)
        write_side_by_side(job_a, job_b, html, solution)
        print(f"wrote {html}", file=sys.stderr)  # standard output may be JSON


def ablate(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder.  \\[default: runs/demo]", show_default=False),
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Score every published policy on what a run knows, beside the run's own answers."""
    from pipelines.reports.tables import open_console, print_ablation
    from pipelines.runs.job import find_moved, open_job, pick_run
    from pipelines.scores.ablate import ablate_run

    run = pick_run(None, run)
    ablation = ablate_run(open_job(find_moved(data, run), run, None, None))
    if as_json:
        print(json.dumps(asdict(ablation), indent=2))
    else:
        print_ablation(ablation, open_console())
