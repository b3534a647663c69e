"""The command discover: photos that nobody has labelled, in a folder for each thing they show."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embed.errors import InputError

from .options import Redo, Workers
from .start import start_job

if TYPE_CHECKING:
    from pipelines.runs.job import Job


def discover(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos, in folders or not; they stay as they are.")
    ],
    into: Annotated[
        Path,
        typer.Option(help="Folder to write: a folder of links for each group, and groups.html."),
    ],
    names: Annotated[
        Path | None,
        typer.Option(
            help="Rename the folders by this table of group and name, as groups.html saves it, and "
            "find nothing.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Local .safetensors file of the network that describes the photos. Where it says "
            "what network it is of, that is taken, not the recipe's.  "
            "\\[default: what the recipe says]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe that describes and verifies the photos, by name or .toml file; nothing is "
            "trained.  \\[default: untrained]",
            show_default=False,
        ),
    ] = None,
    min_photos: Annotated[
        int, typer.Option(min=2, help="Photos of a group; smaller ones are none.")
    ] = 2,
    min_inliers: Annotated[
        int, typer.Option(min=1, help="Inliers by which a photo shows what another does.")
    ] = 30,
    workers: Workers = None,
    redo: Redo = False,
) -> None:
    """Group photos that show the same thing: from a heap without labels to folders with names.

    Near-duplicates are found first, then photos that are among each other's neighbours and whose
    local features one transform explains. What shows nothing twice stays apart. Look at
    groups.html, name the groups there, and make a dataset of the folders: cairn data folders. What
    somebody has named is never replaced.
    """
    from pipelines.artifacts import WORK
    from pipelines.datasets.group_folders import PAGE, TABLE, claim_group_folders, rename_groups
    from pipelines.decorations import draw_missing
    from pipelines.runs.job import locking
    from pipelines.sources.heap import list_heap
    from pipelines.stages import order
    from rerank.grouping import GroupingSettings

    if names is not None:
        renamed = rename_groups(into, names)
        print(f"{into}: {len(renamed)} folders renamed")
        return
    settings = GroupingSettings(min_inliers, min_photos)
    listed = list_heap(photos)  # before anything is made
    claim_group_folders(into, photos)
    with locking(into / WORK, f"{into}; wait for it, or name another folder: --into FOLDER"):
        job = _start(photos, listed, into, recipe, weights, workers)
        found = order.discover(job, photos, into, settings, redo=redo)
        drawn = draw_missing(into / PAGE, lambda: _draw(photos, into))
    look = f"look at {into / PAGE}" if drawn else f"{into / TABLE} has all"
    unread = f", {found.failed} could not be read: failures.csv says why" if found.failed else ""
    print(
        f"{into}: {found.groups} groups of {found.grouped} photos, {found.apart} photos apart"
        f"{unread}; {look}"
    )


def _draw(photos: Path, into: Path) -> None:
    from pipelines.reports.groups_page import write_groups_page  # pandas

    write_groups_page(photos, into)


def _start(
    photos: Path,
    listed: Mapping[str, Path],
    into: Path,
    recipe: str | None,
    weights: Path | None,
    workers: int | None,
) -> "Job":
    """Make the heap a dataset in the work folder; return its job, which trains nothing."""
    from pipelines.artifacts import WORK
    from pipelines.runs.recipe import load_recipe
    from pipelines.sources.heap import import_heap
    from pipelines.stages.order import will_train

    data, run = into / WORK / "data", into / WORK / "run"
    import_heap(photos, listed, data)
    if recipe is None and not (run / "run.json").is_file():
        recipe = "untrained"
    trains = recipe is not None and load_recipe(recipe).train.epochs > 0
    changes = ["train.epochs=0"] if trains else []
    job = start_job(data, run, recipe, weights, workers=workers, changes=changes)
    if will_train(job):
        raise InputError(f"the recipe {job.recipe_name} trains its members; name another: --recipe")
    if job.recipe.rerank.method in ("none", "delf"):
        raise InputError(
            f'the recipe {job.recipe_name} has rerank.method = "{job.recipe.rerank.method}", but '
            'groups are verified by features that need no training: "sift" or "delf-hub"; name '
            "another: --recipe"
        )
    return job
