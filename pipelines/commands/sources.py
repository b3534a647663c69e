"""The commands data demo and data folders: a dataset of nothing, or of a folder a class."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder to write.  \\[default: data/demo]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the city.")] = 0,
) -> None:
    """Render the demo city."""
    from pipelines.runs.job import DEMO_DATA
    from pipelines.sources.demo import render_demo

    render_demo(data or DEMO_DATA, seed=seed)


def folders(
    photos: Annotated[
        Path,
        typer.Argument(
            help="Holds a folder of photos for each thing, and one called _none with photos of "
            "nothing known."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  \\[default: data/<name of the folder>]",
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
) -> None:
    """Make a dataset of a folder a class."""
    from pipelines.sources.folders import import_folders

    target = data or Path("data") / photos.resolve().name
    counts = import_folders(photos, target, test_every=test_every, keep_training=keep_training)
    print(f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
