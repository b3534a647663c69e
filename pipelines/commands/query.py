"""The command query: which known thing is in photos, or none."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embed.allocator import importing

from .options import Data, Run, min_precision_option

if TYPE_CHECKING:  # a query of one photo has no need of most of it
    from pipelines.answers.named_photos import NamedPhoto

STDOUT, FILES = "What is printed", "What is written"


def _print_schema(requested: bool) -> None:
    if requested:
        from pipelines.reports.answers_json import load_schema

        print(load_schema(), end="")
        raise typer.Exit


PAGES, DRAWINGS = (".html", ".htm"), (".png",)  # endings of files that are replaced


def query(
    images: Annotated[
        list[str],
        typer.Argument(help="Photos, folders of them, URLs, or - for one on standard input."),
    ],
    data: Data = None,
    run: Run = None,
    neighbors: Annotated[
        int,
        typer.Option(
            min=0, help="Photos of the database to show: for the answer, the last for another."
        ),
    ] = 5,
    min_precision: Annotated[float | None, min_precision_option("that of the run")] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private", help="Connect to private addresses and any port, too, for URLs."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="JSON, one line a photo.", rich_help_panel=STDOUT),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="CSV, one row a photo.", rich_help_panel=STDOUT)
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say in two sentences how each confidence came about; JSON and CSV always do.",
            rich_help_panel=STDOUT,
        ),
    ] = False,
    json_schema: Annotated[
        bool,
        typer.Option(
            "--json-schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON Schema of a line of --json, and end.",
            rich_help_panel=STDOUT,
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Page to write, with the photos and match lines.  \\[default: none]",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            help="Figure to write of one photo: where the landmark is, neighbours, match lines, "
            "votes.  \\[default: none]",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for links to the photos, in a folder a landmark; _unknown and _unreadable "
            "apart. Nothing that is there is changed.  \\[default: none]",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    xmp: Annotated[
        bool,
        typer.Option(
            "--xmp",
            help="Write the name, confidence and place into a sidecar beside each photo that is "
            "recognised, photo.jpg.xmp, which photo managers read; never over another program's.",
            rich_help_panel=FILES,
        ),
    ] = False,
) -> None:
    """Recognise photos: label, name, confidence, or no known landmark, and what speaks for it.

    Photos of the database stand below each answer: first those of the landmark, or of the likeliest
    one where none is known, the strongest first; the last is the strongest of another. "not
    verified" is what has no more inliers than chance gives. "also" names what is in another part of
    the photo, where the recipe of the run asks for it: decide.most_answers.

    Exit status: 0 if all photos were answered, also by "no known landmark"; 1 if one could not be
    read, or not be linked or described as asked for, while the others were; 2 if the command was
    not understood; 70 for a fault of Cairn.
    """
    with importing():
        from pipelines.answers.engines import begin_engines
        from pipelines.answers.named_photos import list_named
        from pipelines.runs.job import find_moved, pick_run, read_run
        from pipelines.runs.recipe import make_recipe

        named, folder = list_named(images, without=sort_into), pick_run(data, run)
        _check_options(named, as_json and as_csv, png, sort_into is not None or xmp)
        _check_targets(named, {"--html": html, "--png": png})
        if recorded := read_run(folder):  # the network is compiled while the rest is imported
            begin_engines(folder, make_recipe(recorded["settings"], str(folder)))
        from pipelines.recognizer import Recognizer
        from pipelines.reports.answer_outputs import AnswerOutputs, Form, Wanted, answer_named
    recognizer = Recognizer.load(folder, min_precision=min_precision, data=find_moved(data, folder))
    form: Form = "json" if as_json else "csv" if as_csv else "table"
    wanted = Wanted(form, explain, html, png, sort_into, xmp)
    with AnswerOutputs(recognizer, wanted) as outputs:
        answer_named(outputs, named, neighbors=neighbors, allow_private=allow_private)
    if outputs.failed:
        raise typer.Exit(1)


def _check_options(
    named: "list[NamedPhoto]", two_forms: bool, png: Path | None, needs_files: bool
) -> None:
    """Raise typer.BadParameter for options that do not go together."""
    if two_forms:
        raise typer.BadParameter("--json and --csv: standard output has one form; take one")
    if png is not None and len(named) != 1:
        raise typer.BadParameter(
            f"--png draws one photo, and there are {len(named)}; --html shows many"
        )
    if needs_files and any(isinstance(each, str) for each in named):
        raise typer.BadParameter(
            "--sort-into and --xmp are for files; a URL or standard input (-) is none"
        )


def _check_targets(named: "list[NamedPhoto]", targets: dict[str, Path | None]) -> None:
    """Raise typer.BadParameter where a file to write is a photo, or that of another option.

    Also where it cannot be written: an archive may take hours before it would be.
    """
    asked = {each.resolve() for each in named if isinstance(each, Path)}
    written = dict[Path, str]()
    for option, path in targets.items():
        if path is None:
            continue
        place = path.resolve()
        if place in written:
            raise typer.BadParameter(f"{option} and {written[place]} name one file; name two")
        above = next(each for each in place.parents if each.exists())
        if place.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
            raise typer.BadParameter(f"{option} cannot write {path}; name a file in your folders")
        ending = PAGES if option == "--html" else DRAWINGS
        if place in asked or (path.is_file() and path.suffix.lower() not in ending):
            raise typer.BadParameter(
                f"{option} would replace {path}, which is no page or figure; name a file that is "
                f"not there, or one that ends in {' or '.join(ending)}"
            )
        written[place] = option
