"""The command data revisited: a dataset of revisited Oxford or Paris."""

from pathlib import Path
from typing import Annotated

import typer


def revisited(
    ground_truth: Annotated[
        Path, typer.Argument(help="gnd_roxford5k.pkl or gnd_rparis6k.pkl; nothing in it is run.")
    ],
    images: Annotated[
        Path, typer.Option(help="Folder with the photos, as the archives hold them.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder to write.  \\[default: data/roxford5k, of gnd_roxford5k.pkl]",
            show_default=False,
        ),
    ] = None,
    distractors: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images to search, too: those of R1M.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            help="Dataset that the model was trained on: its train table is taken over, without "
            "the images.  \\[default: none; only train.epochs = 0 goes]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a dataset of revisited Oxford or Paris, which evaluate scores by its ground truth."""
    from pipelines.sources.revisited.make import import_revisited

    target = data or Path("data") / ground_truth.stem.removeprefix("gnd_")
    counts = import_revisited(
        ground_truth, images, target, distractors=distractors, training=training
    )
    print(f"{target}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
