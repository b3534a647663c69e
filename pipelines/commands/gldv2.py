"""The command data gldv2: a dataset of Google Landmarks v2."""

from pathlib import Path
from typing import Annotated

import typer

from embed.errors import MissingFileError
from pipelines.sources.gldv2.catalog import BASE, Subset, Task


def gldv2(
    data: Annotated[Path, typer.Option(help="Dataset folder to write.")] = Path("data/gldv2"),
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder of GLDv2's files: train/images_000.tar, or unpacked train/a/b/c/<id>.jpg, "
            "metadata/train_clean.csv and so on.  \\[default: images/ of the dataset folder]",
            show_default=False,
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option(
            "--fetch", help="Fetch what is not there. Goes on after the last byte that arrived."
        ),
    ] = False,
    tars: Annotated[
        list[str] | None,
        typer.Option(
            help="Which tars to fetch: 0-9 of each split, train:0-9 of one; may be repeated. The "
            "training set has 500 of 1 GB, the index 100 of 0.85 GB, the test 20 of 0.5 GB. All "
            "that are there are used.  "
            "\\[default: all]",
            show_default=False,
        ),
    ] = None,
    subset: Annotated[
        Subset, typer.Option(help="The 1.6 million training images of train_clean.csv, or all.")
    ] = "clean",
    task: Annotated[
        Task, typer.Option(help="Recognition searches the training set, retrieval the index.")
    ] = "recognition",
    base: Annotated[str, typer.Option(help="The server, or a mirror of it.")] = BASE,
) -> None:
    """Make a dataset of Google Landmarks v2, read straight from its tars."""
    from pipelines.sources.gldv2.catalog import parse_tars
    from pipelines.sources.gldv2.fetch import Mirror
    from pipelines.sources.gldv2.make import make_gldv2

    if source is not None and not fetch and not source.is_dir():
        raise MissingFileError(f"no folder of GLDv2's files at {source}")
    mirror = Mirror(source or data / "images", base)
    counts = make_gldv2(mirror, data, parse_tars(tars or []), fetch=fetch, task=task, subset=subset)
    print(f"{data}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
