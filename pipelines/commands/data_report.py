"""The command data report: what is in a dataset, and what a run of it will take."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from embed.errors import MissingFileError

from .options import Workers
from .run import Changes


def report(
    data: Annotated[Path, typer.Argument(help="Dataset folder.")],
    before: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to compare class sizes with.  "
            "\\[default: that which this one was selected or cleaned from]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe to plan for, by name or .toml file.  "
            "\\[default: demo for the demo city, photos for other data]",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Local .safetensors file that says which backbone it is for.  "
            "\\[default: the backbone of the recipe]",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        Literal["full", "small"],
        typer.Option(help="small: plan for the recipe's section \\[small], minutes on a laptop."),
    ] = "full",
    changes: Changes = None,
    workers: Workers = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan/--no-plan",
            help="Run the stages on some of the photos, a minute or two with a small network, and "
            "plan time, disk and memory.",
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write data_report.html and data_report.png to.  "
            "\\[default: report/ of the dataset folder]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say what is in a dataset, and what time, disk and memory a run will take on this machine.

    What a run would refuse is listed first, as what has to be mended: the report is written all the
    same, and the exit status is 0.
    """
    from pipelines.datasets.dataset import Dataset
    from pipelines.decorations import draw
    from pipelines.reports.data_report import make_report, to_json
    from pipelines.reports.data_report_page import PAGE, open_folder, save_report
    from pipelines.reports.data_report_sections import make_sections
    from pipelines.reports.data_report_tables import print_sections
    from pipelines.reports.tables import open_console
    from pipelines.runs.job import Job, count_workers, is_demo, pick_run
    from pipelines.runs.networks import settle_network
    from pipelines.runs.recipe import load_recipe

    name = recipe or ("demo" if is_demo(data) else "photos")
    settings = load_recipe(name, scale, changes or ())
    if weights is not None and not weights.is_file():
        raise MissingFileError(f"no weights file at {weights}")
    dataset = Dataset(data)
    folder = open_folder(out or data / "report")
    job = None
    if plan:
        job = Job(
            data,
            pick_run(data, None),
            settings,
            _name_recipe(name, scale, changes or ()),
            weights,
            workers=count_workers() if workers is None else workers,
        )
        job = settle_network(job, changes or ())
    made, measured = make_report(dataset, before, job)
    sections = make_sections(made)
    if as_json:
        print(json.dumps(to_json(made), indent=2, ensure_ascii=False))
    else:
        print_sections(sections, open_console())
    page = folder / PAGE
    if draw(page, lambda: save_report(made, measured, sections, folder)):
        print(f"wrote {page}", file=sys.stderr)  # standard output may be JSON


def _name_recipe(name: str, scale: str, changes: Sequence[str]) -> str:
    """Return the name of a recipe with what is asked for otherwise, as on the command line."""
    options = [f"--scale {scale}"] if scale != "full" else []
    return " ".join([name, *options, *(f"--set {change}" for change in changes)])
