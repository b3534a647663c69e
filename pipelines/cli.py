"""The command line: reads options, calls one stage, turns errors into advice.

Stages are imported when they are called: `cairn --help` and `cairn query` must start fast.
"""

import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

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

Data = Annotated[
    Path | None,
    typer.Option(
        help="Dataset folder.  \\[default: that of the run, else data/demo]", show_default=False
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        help="Run folder.  \\[default: runs/<name of the dataset folder>]", show_default=False
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="Recipe, by name or .toml file.  "
        "\\[default: that of the run, else demo for the demo city and photos for other data]",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Local .safetensors file to start the backbone from.  "
        "\\[default: that of the run, else what the recipe says]",
        show_default=False,
    ),
]
Redo = Annotated[bool, typer.Option("--redo", help="Do this stage again even if it is done.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that decode images; 0: none beside this one.  \\[default: cores - 1]",
        show_default=False,
    ),
]


def _open_job(
    data: Path | None,
    run: Path | None,
    recipe: str | None,
    weights: Path | None,
    workers: int | None,
    redo: bool,
    devices: int = 1,
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
    return job


@app.command(rich_help_panel=MAKE)
def data(
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
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  \\[default: data/demo or data/<name>]",
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
    seed: Annotated[int, typer.Option(help="Seed of the demo city.")] = 0,
) -> None:
    """Make a dataset folder: the demo city, or one of a folder a class."""
    from .job import DEMO_DATA

    if demo == (source is not None):
        raise ValueError("say what to make a dataset of: --demo, or --from FOLDER")
    if demo and keep_training:
        raise ValueError("--keep-training goes with --from, not with --demo")
    if source is None:
        from .data import render_demo

        render_demo(data or DEMO_DATA, seed=seed)
        return
    from .folders import import_folders

    target = data or Path("data") / source.resolve().name
    counts = import_folders(source, target, test_every=test_every, keep_training=keep_training)
    print(f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


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
    """Train the descriptor model; goes on after the last epoch of an interrupted training."""
    from .train import train as train_stage

    job = _open_job(data, run, recipe, weights, workers, redo, devices)
    with job.locked():
        train_stage(job)


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
    redo: Redo = False,
) -> None:
    """Make all that queries are compared with: search index, local features, threshold."""
    from .index import index_database

    job = _open_job(data, run, recipe, weights, workers, redo)
    with job.locked():
        index_database(job)


@app.command(rich_help_panel=MAKE)
def submit(
    data: Data = None,
    run: Run = None,
    recipe: RecipeName = None,
    weights: Weights = None,
    workers: Workers = None,
    redo: Redo = False,
) -> None:
    """Do the whole job: everything above that is missing, submission.csv, and its figures."""
    from .evaluate import evaluate_run
    from .submit import submit as submit_stage

    job = _open_job(data, run, recipe, weights, workers, redo)
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a photo.")] = False,
) -> None:
    """Recognise photos: label, name, confidence, or no known landmark, and the neighbours."""
    from .images import list_images
    from .job import pick_run
    from .query import QueryEngine
    from .report import print_recognition

    paths = list_images(images)
    engine = QueryEngine(pick_run(data, run))
    console, unread = Console(), 0
    for path in paths:
        answer = engine.ask(path, neighbors)
        unread += bool(answer.error)
        if as_json:
            print(json.dumps(asdict(answer), ensure_ascii=False), flush=True)
        else:
            print_recognition(answer, console)
    if unread:
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
    """Score a run, step by step, or any submission against any solution."""
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
    from .report import print_steps, print_summary

    console = Console()
    print_summary(metrics, console)
    if "steps" in metrics:
        print_steps(metrics, console)


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
