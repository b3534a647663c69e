"""The command data files: a dataset of a table and its images."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def files(
    table: Annotated[
        list[Path],
        typer.Argument(
            help="One .csv file (commas, semicolons or tabs), or .parquet files or a folder of "
            "them: a row an image. Columns: id, or file_name like photos/a.jpg; landmark_id, or "
            "label with names; split."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the table names files from.  "
            "\\[default: the table holds the images' bytes]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  \\[default: data/<name of the table>]",
            show_default=False,
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Column of ids, or of files.  \\[default: id, image_id, file_name or path]",
            show_default=False,
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            help="Column of labels: landmark ids, or names, which get ids.  "
            "\\[default: landmark_id, label, name or class]",
            show_default=False,
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the images' bytes, or of files where ids are in another.  "
            "\\[default: the one with bytes; that of the ids]",
            show_default=False,
        ),
    ] = None,
    split_column: Annotated[
        str | None,
        typer.Option(
            help="Column of train, index, validation, test or non_landmark.  "
            "\\[default: split, if it is there]",
            show_default=False,
        ),
    ] = None,
    test_every: Annotated[
        int,
        typer.Option(
            help="Without splits: keep every so many-th row of a label for the test; 0: none."
        ),
    ] = 5,
    unlabelled: Annotated[
        Literal["non_landmark", "test"],
        typer.Option(
            help="What rows without a label are: photos of nothing known, or photos to be "
            "recognised."
        ),
    ] = "non_landmark",
) -> None:
    """Make a dataset of a table and its images: files in a folder, or bytes in Parquet."""
    from pipelines.sources.table_import.make import import_table
    from pipelines.sources.table_import.rows import Columns

    target = data or Path("data") / table[0].resolve().stem
    done = import_table(
        table,
        target,
        images=images,
        columns=Columns(id_column, label_column, image_column, split_column),
        test_every=test_every,
        unlabelled=unlabelled,
    )
    counts = ", ".join(f"{count} {name}" for name, count in done.tables.items())
    print(f"{target}: {done.landmarks} landmarks, {counts}")
    if done.failed:
        print(
            f"{done.failed} of {done.requested} images are not there; {target}/failures.parquet "
            "says why"
        )
