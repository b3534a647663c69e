"""The command data balance: a dataset whose classes are of more equal size."""

from pathlib import Path
from typing import Annotated

import typer

from .options import naming_options


def balance(
    data: Annotated[Path, typer.Argument(help="Dataset folder, which stays as it is.")],
    into: Annotated[
        Path, typer.Option(help="Dataset folder to write; for several sets, the folder of them.")
    ],
    cap: Annotated[
        int, typer.Option(min=0, help="Images of a class in a set at most; 0: no limit.")
    ] = 0,
    sets: Annotated[
        int, typer.Option(min=1, help="Training sets, each with its own sample of large classes.")
    ] = 1,
    upsample_to: Annotated[
        int, typer.Option(min=0, help="Fill smaller classes up to so many images; 0: do not.")
    ] = 0,
    min_count: Annotated[
        int, typer.Option(min=0, help="Leave out classes with fewer training images.")
    ] = 0,
    materialise: Annotated[
        bool,
        typer.Option(
            "--materialise", help="Write the variants that fill classes up as image files."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides what is drawn.")] = 0,
) -> None:
    """Write training sets in which large classes are capped and small ones filled up.

    Classes are filled up by variants of their images: crops with zoom, grey, mirrored, brighter,
    darker. Without --materialise variants.csv lists them and train.csv has none: section
    train.balance of a recipe makes them while training. All images stay in the database.
    """
    from embed.train_settings import BalanceSettings
    from pipelines.datasets.balance.make import balance_dataset
    from pipelines.datasets.dataset import Dataset

    with naming_options():
        settings = BalanceSettings(min_count=min_count, cap=cap, upsample_to=upsample_to)
    done = balance_dataset(
        Dataset(data), into, settings, sets=sets, seed=seed, materialise=materialise
    )
    for made in done.sets:
        print(f"{made.folder}: {made.images} images, {made.variants} variants of them")
    print(
        f"{done.landmarks} of {done.of_landmarks} landmarks; {done.dropped} images of the others "
        "left out"
    )
    if done.failures:
        print(
            f"{len(done.failures)} images could not be read and have no variants, the first: "
            f"{done.failures[0].message}"
        )
