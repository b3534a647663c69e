"""The command data check: images that spoil a dataset, listed or left out."""

from pathlib import Path
from typing import Annotated

import typer

from embed.errors import InputError


def check(
    data: Annotated[Path, typer.Argument(help="Dataset folder.")],
    min_side: Annotated[
        int, typer.Option(min=1, help="Pixels; an image whose shorter side has fewer is tiny.")
    ] = 32,
    remove: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[,KIND]",
            help="Write the dataset anew without the images of these kinds of problems, by the "
            "names that the table has.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="With --remove: dataset folder to write; it shares the images of the other.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write problems.csv, problems.html, groups.parquet and scan/ to, where "
            "the dataset cannot be written.  \\[default: the dataset folder]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Find images that are corrupt, tiny, blank, there twice, across the split or mislabelled.

    Reads every image once; later only those that are new or have changed. Writes problems.csv,
    problems.html with the images side by side, and groups.parquet, by which `cairn data select`
    keeps near duplicates together. What else a run would refuse of the tables is printed.
    """
    from pipelines.datasets.checking.check import check_dataset
    from pipelines.datasets.checking.removal import parse_kinds, remove_problems
    from pipelines.datasets.dataset import Dataset
    from pipelines.decorations import draw
    from pipelines.reports.data_report_page import open_folder
    from pipelines.reports.problems_page import PAGE, write_page
    from pipelines.reports.problems_tables import count_problems, print_counts, print_left
    from pipelines.reports.tables import open_console

    if (remove is None) != (into is None):
        raise InputError("--remove KIND and --into FOLDER go together; neither only lists problems")
    kinds = parse_kinds(remove) if remove is not None else []
    dataset, console = Dataset(data), open_console()
    folder = open_folder(out or data)
    found, problems = check_dataset(dataset, folder, min_side=min_side)
    print_counts(count_problems(found, problems), console)
    for problem in dataset.find_problems()[0]:
        console.print(f"to be mended before a run: {problem}", markup=False, highlight=False)
    page = folder / PAGE
    drawn = draw(page, lambda: write_page(dataset, found, problems, page))
    written = " and ".join(["problems.csv", *(path.name for path in drawn)])
    console.print(f"wrote {folder / written}", markup=False, highlight=False)
    if into is not None:
        left = remove_problems(dataset, found, problems, kinds, into)
        console.print()
        print_left(left, console)
        console.print(
            f"wrote {into}; rejected.csv says what is missing, and why",
            markup=False,
            highlight=False,
        )
