"""The command data select: part of a dataset, and what is held out of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.datasets.selection.settings import Method, Unknown

if TYPE_CHECKING:
    from pipelines.datasets.selection.select import Selection


def select(
    data: Annotated[Path, typer.Argument(help="Dataset folder, which stays as it is.")],
    into: Annotated[
        Path, typer.Option(help="Dataset folder to write; it shares the images of the other.")
    ],
    ids: Annotated[
        str | None,
        typer.Option(
            help="Keep landmarks by id, without the last: 1000:1300 keeps 1000 to 1299.",
            show_default=False,
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(help="Drop classes with fewer training images.", show_default=False),
    ] = None,
    max_count: Annotated[
        int | None,
        typer.Option(
            help="Drop classes with more training images; --cap keeps some of them.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="Keep the so many largest classes; of equal ones, those of smaller id.",
            show_default=False,
        ),
    ] = None,
    cap: Annotated[
        int | None,
        typer.Option(
            help="Keep at most so many images of every class, drawn by the seed.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Method,
        typer.Option(
            help="by-size: test images by the size of the class; per-class: so many of each; "
            "shares: a share of each; random: a share of all images, whatever their class."
        ),
    ] = "none",
    validation: Annotated[
        float | None,
        typer.Option(
            help="Validation images: a share, per-class a number.  "
            "\\[default: by-size 0.2, of what test leaves; per-class 2; shares 0.06; random 0.1]",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(
            help="Test images: a share, per-class a number.  "
            "\\[default: shares 0.04, per-class and random 0]",
            show_default=False,
        ),
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="by-size: test shares of classes of up to so many images.")
    ] = "9:0.25,100:0.05,rest:0.01",
    keep: Annotated[
        int,
        typer.Option(help="Images of a class that are never held out; random ignores it."),
    ] = 1,
    unknown: Annotated[
        Unknown,
        typer.Option(
            help="Test images there are whose landmarks are dropped: keep them and their labels, "
            "make them distractors, or drop them."
        ),
    ] = "keep",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Give up a validation or test set that is made anew."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides which images are held out.")] = 0,
) -> None:
    """Choose classes of a dataset, and hold out validation and test images.

    Filters act in the order --ids, --min-count, --max-count, --top, --cap. An image's part depends
    on the seed, its id and its class alone. Near-duplicates that `cairn data check` found are never
    divided.
    """
    from pipelines.datasets.dataset import Dataset
    from pipelines.datasets.selection.select import select_dataset
    from pipelines.datasets.selection.settings import Filters, make_split, parse_ids, parse_sizes

    filters = Filters(parse_ids(ids) if ids is not None else None, min_count, max_count, top, cap)
    settings = make_split(split, validation, test, parse_sizes(sizes), keep)
    selection = select_dataset(
        Dataset(data), into, filters, settings, seed=seed, replace=replace, unknown=unknown
    )
    _print_selection(selection, into)


def _print_selection(selection: "Selection", folder: Path) -> None:
    from pipelines.reports.tables import make_table, open_console

    console = open_console()
    steps = make_table("filter", "images", "landmarks")
    for number, step in enumerate(selection.steps):
        name = step.filter if number else "all"
        steps.add_row(name, f"{step.images}", f"{step.landmarks}")
    parts = make_table("part", "images", "landmarks", "images asked for")
    for name, part in selection.parts.items():
        parts.add_row(name, f"{part.images}", f"{part.landmarks}", f"{part.quota}")
    for table in (steps, parts):
        console.print(table)
        console.print()
    for note in selection.notes:
        console.print(note, markup=False, highlight=False)
    console.print(f"wrote {folder}; selection.json has these figures", markup=False)
