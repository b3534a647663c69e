"""The command line: reads options, calls one stage, turns errors into advice.

Stages are imported when they are called: `cairn --help` and `cairn query` must start fast.
"""

import json
import logging
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    Data,
    MinPrecision,
    RecipeName,
    Redo,
    Run,
    Weights,
    Workers,
    min_precision_option,
)

if TYPE_CHECKING:
    from .job import Job

app = typer.Typer(
    help="Which of these known things is in this photo, how sure are we, or is it none of them?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
MAKE, ASK, JUDGE = "Make a run, stage by stage", "Ask", "Judge"


def _open_job(
    data: Path | None,
    run: Path | None,
    recipe: str | None,
    weights: Path | None,
    workers: int | None,
    redo: bool,
    devices: int = 1,
    min_precision: float | None = None,
) -> "Job":
    from .job import count_workers, is_demo, open_job

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
        from .data import render_demo

        render_demo(job.data)
    job.dataset.check()
    if min_precision is not None:
        decide = job.recipe.decide.model_copy(update={"min_precision": min_precision})
        job = replace(job, recipe=job.recipe.model_copy(update={"decide": decide}))
    return job


# What `cairn data` can make a dataset of, and the options that only one of them reads.
SOURCES = ("--demo", "--from", "--clean")
READ_BY = {
    "seed": "--demo",
    "test_every": "--from",
    "keep_training": "--from",
    "min_verified": "--clean",
    "min_inliers": "--clean",
}


@app.command(rich_help_panel=MAKE)
def data(
    context: typer.Context,
    demo: Annotated[bool, typer.Option("--demo", help="Render the demo city.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder with a folder of photos for each thing; a folder "
            "_none holds photos of nothing known.",
            show_default=False,
        ),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            help="Run folder: its dataset is written anew without the training images that too "
            "few others of their class confirm.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  "
            "\\[default: data/demo, data/<name> or, cleaned, <dataset of the run>-clean]",
            show_default=False,
        ),
    ] = None,
    test_every: Annotated[
        int, typer.Option(help="Keep every so many-th photo of a folder for the test; 0: none.")
    ] = 5,
    keep_training: Annotated[
        bool,
        typer.Option(
            "--keep-training",
            help="Leave train.csv as it is and write index.csv: new things without training.",
        ),
    ] = False,
    min_verified: Annotated[
        int, typer.Option(min=1, help="Cleaning: how many of its class must confirm an image.")
    ] = 2,
    min_inliers: Annotated[
        int, typer.Option(min=1, help="Cleaning: inliers by which an image confirms another.")
    ] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the demo city.")] = 0,
) -> None:
    """Make a dataset folder: the demo city, one of a folder a class, or one with clean labels."""
    from .job import DEMO_DATA

    _check_source(context, dict(zip(SOURCES, (demo, source, clean), strict=True)))
    if clean is not None:
        _clean_dataset(clean, data, min_verified, min_inliers)
        return
    if source is None:
        from .data import render_demo

        render_demo(data or DEMO_DATA, seed=seed)
        return
    from .folders import import_folders

    target = data or Path("data") / source.resolve().name
    counts = import_folders(source, target, test_every=test_every, keep_training=keep_training)
    print(f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _check_source(context: typer.Context, sources: dict[str, object]) -> None:
    """Raise ValueError unless one source is named, and no option that another one reads."""
    named = [name for name, value in sources.items() if value]
    if len(named) != 1:
        raise ValueError(
            "say what to make a dataset of: --demo, or --from FOLDER, or --clean RUN; one of them"
        )
    for name, reader in READ_BY.items():
        given = context.get_parameter_source(name)
        if reader != named[0] and given is not None and given.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} goes with {reader}, not with {named[0]}")


def _clean_dataset(run: Path, folder: Path | None, min_verified: int, min_inliers: int) -> None:
    from rerank.cleaning import CleaningSettings

    from .clean import clean_training
    from .job import read_run

    if read_run(run) is None:
        raise FileNotFoundError(
            f"no run in {run}; make one of the dataset first: cairn embed --data FOLDER --run {run}"
        )
    job = _open_job(None, run, None, None, None, redo=False)
    folder = folder or job.data.with_name(f"{job.data.name}-clean")
    settings = CleaningSettings(min_images=min_verified, min_inliers=min_inliers)
    with job.locked():
        kept = clean_training(job, folder, settings)
    print(
        f"{folder}: {kept.images} of {kept.of_images} training images "
        f"({kept.images / kept.of_images:.0%}) and {kept.landmarks} of {kept.of_landmarks} "
        "landmarks kept; rejected.csv says why not the others"
    )


@app.command(rich_help_panel=MAKE)
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
    from .train import train as train_stage

    job = _open_job(data, run, recipe, weights, workers, redo, devices)
    with job.locked():
        train_stage(job)
        if job.recipe.rerank.method == "delf":
            from .train_delf import train_local_features

            train_local_features(job)


@app.command(rich_help_panel=MAKE)
def embed(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    redo: Redo = False,
) -> None:
    """Turn every image into a global descriptor; trains first if need be."""
    from .embed import embed_split
    from .features import extract_split

    job = _open_job(data, run, recipe, weights, workers, redo)
    with job.locked():
        for split in (job.dataset.database_split, "test", "non_landmark"):
            if job.dataset.find_table(split):
                embed_split(job, split)
                if job.redo and job.recipe.rerank.method != "none":
                    extract_split(job, split)  # of the same images, which have changed


@app.command(rich_help_panel=MAKE)
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
    from .index import index_database

    job = _open_job(data, run, recipe, weights, workers, redo, min_precision=min_precision)
    with job.locked():
        index_database(job)


@app.command(rich_help_panel=MAKE)
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
    from .evaluate import evaluate_run
    from .submit import submit as submit_stage

    job = _open_job(data, run, recipe, weights, workers, redo, min_precision=min_precision)
    with job.locked():
        submit_stage(job)
        if job.dataset.find_table("solution"):
            _print_run(evaluate_run(job.run, job.dataset))
    print(f"\nwrote {job.run / 'submission.csv'}")


@app.command(rich_help_panel=ASK)
def query(
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    data: Data = None,
    run: Run = None,
    neighbors: Annotated[int, typer.Option(min=0, help="Neighbours to show.")] = 5,
    min_precision: Annotated[float | None, min_precision_option("that of the run")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a photo.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Page to write, with the photos and match lines.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Recognise photos: label, name, confidence, or no known landmark, and the neighbours."""
    from .images import list_images
    from .job import pick_run
    from .query import QueryEngine
    from .report import open_console, print_recognition

    paths = list_images(images)
    engine = QueryEngine(pick_run(data, run), min_precision)
    console, answers = open_console(), []
    for path in paths:
        answer = engine.ask(path, neighbors)
        answers.append(answer)
        if as_json:
            print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
        else:
            print_recognition(answer, console)
    if html is not None:
        from .page.query_page import write_query_page

        write_query_page(engine, answers, html)
        print(f"wrote {html}", file=sys.stderr)  # standard output may be JSON
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


@app.command(rich_help_panel=JUDGE)
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
    from .evaluate import evaluate_files, evaluate_run
    from .job import open_job

    if (submission is None) != (solution is None):
        raise ValueError("--submission and --solution go together; or name a --run")
    if submission is not None and solution is not None:
        metrics = evaluate_files(submission, solution)
    else:
        job = open_job(data, run, None, None)
        metrics = evaluate_run(job.run, job.dataset)
    if as_json:
        print(json.dumps(metrics, indent=2))
    else:
        _print_run(metrics)


def _print_run(metrics: dict[str, Any]) -> None:
    from .report import open_console, print_steps, print_summary

    console = open_console()
    print_summary(metrics, console)
    if "steps" in metrics:
        print_steps(metrics, console)


@app.command(rich_help_panel=JUDGE)
def report(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder.  \\[default: runs/demo]", show_default=False),
    ] = None,
) -> None:
    """Write report.html of a run: its figures, its errors and their photos, with match lines."""
    from .evaluate import evaluate_run
    from .job import open_job, pick_run
    from .page.run_report import write_report

    job = open_job(None, pick_run(None, run), None, None)
    judged = job.dataset.find_table("solution")
    print(f"wrote {write_report(job, evaluate_run(job.run, job.dataset) if judged else None)}")


@app.command(rich_help_panel=JUDGE)
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
) -> None:
    """Tell whether the second of two runs, or steps, is better by more than chance."""
    from .compare import compare_runs, compare_steps
    from .report import open_console, print_comparison

    if len(runs) != (1 if steps else 2):
        raise ValueError(f"{len(runs)} named; name two runs, or one run and two --steps of it")
    if steps:
        compared = compare_steps(runs[0], *steps, solution)
    else:
        compared = compare_runs(runs[0], runs[1], solution)
    if as_json:
        print(json.dumps(asdict(compared), indent=2, ensure_ascii=False))
    else:
        print_comparison(compared, open_console())


@app.command(rich_help_panel=JUDGE)
def ablate(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder.  \\[default: runs/demo]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Score every published policy on what a run knows, beside the run's own answers."""
    from .ablate import ablate_run
    from .job import open_job, pick_run
    from .report import open_console, print_ablation

    ablation = ablate_run(open_job(None, pick_run(None, run), None, None))
    if as_json:
        print(json.dumps(asdict(ablation), indent=2))
    else:
        print_ablation(ablation, open_console())


class _StderrHandler(logging.Handler):
    """Print to what is standard error now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line; a deliberate error is one line of advice and exit status 1."""
    # With workers beside the main process, threads that spin while they wait starve the others:
    # seen to slow training down fivefold on two cores. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_StderrHandler()])
    for noisy in ("faiss", "httpx", "matplotlib", "timm"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    except Exception as error:
        sys.exit(_advise(error))


def _advise(error: Exception) -> str:
    """Return what to tell the user of an error; raises it again if it is not a deliberate one.

    With CAIRN_DEBUG in the environment every error shows where it came from.
    """
    from .artifacts import is_disk_full

    if is_disk_full(error):
        first = (str(error).splitlines() or [""])[0]  # torch adds its call stack
        return f"error: the disk is full; free some space and run the same command ({first})"
    if os.environ.get("CAIRN_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"error: {error.filename}: {error.strerror.lower()}"
    if isinstance(error, ValueError | OSError):
        return f"error: {error}"
    raise error
