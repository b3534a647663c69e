"""The command data augmentations: what the random changes of training do, as a picture."""

from pathlib import Path
from typing import Annotated

import typer


def augmentations(
    data: Annotated[Path, typer.Argument(help="Dataset folder.")],
    recipe: Annotated[str, typer.Option(help="Recipe, by name or .toml file.")] = "photos",
    out: Annotated[Path, typer.Option(help="PNG or JPEG file to write.")] = Path(
        "augmentations.png"
    ),
    columns: Annotated[int, typer.Option(min=1, help="Images a row.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Decides which images are shown.")] = 0,
) -> None:
    """Show what the random changes of a recipe, each of them, and every preset do to photos."""
    from pipelines.datasets.dataset import Dataset
    from pipelines.reports.augmentation_sheet import write_augmentation_sheet
    from pipelines.runs.recipe import load_recipe

    augment = load_recipe(recipe).train.augment
    write_augmentation_sheet(Dataset(data), augment, out, columns=columns, seed=seed)
    print(f"wrote {out}")
