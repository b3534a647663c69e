"""Which network each model of a job is: judged, and made one with its weights file, at the start.

Reads the header of the weights file. What a run records is then what it trains.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embed.errors import InputError
from embed.weights_file import read_weights_metadata

from .job import Job
from .members import list_member_jobs
from .recipe import Recipe
from .recipe_files import merge, parse_change

logger = logging.getLogger(__name__)


def settle_network(job: Job, changes: Sequence[str]) -> Job:
    """Return the job with the network that its weights file is for, where the file says so.

    That of a recipe gives way, for it is what the recipe would fetch.

    Args:
        job: what was asked for.
        changes: those of --set among it, like train.backbone=resnet50.

    Raises:
        InputError: one of the changes names another network, or a member of the ensemble does; or
            the weights file is none.
    """
    if job.weights is None or not job.weights.is_file():  # a trained model needs it no more
        return job
    held = read_weights_metadata(job.weights).architecture
    if held is None:
        return job
    for key, named in _find_named(job, changes):
        if _bare(named) != _bare(held):
            raise InputError(
                f"{key} is '{named}', but the weights file {job.weights} is of '{held}'; leave "
                f"{key} away to train that, or name a weights file of '{named}': --weights FILE"
            )
    train = job.recipe.train
    if _bare(train.backbone) == _bare(held):
        return job
    logger.info(
        "the weights file %s is of '%s': this is trained, not the recipe's '%s'",
        *(job.weights.name, held, train.backbone),
    )
    changed = train.model_copy(update={"backbone": held})
    return replace(job, recipe=job.recipe.model_copy(update={"train": changed}))


def _find_named(job: Job, changes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the networks that were named for this job, by key: with --set, or for a member."""
    values: dict[str, dict[str, str]] = {}
    for change in changes:
        values = merge(values, parse_change(change))
    if named := values.get("train", {}).get("backbone"):
        yield "train.backbone", named
    for name, member in job.recipe.ensemble.members.items():
        if named := member.train.get("backbone"):
            yield f"ensemble.members.{name}.train.backbone", named


def _bare(network: str) -> str:
    """Return the name without that of weights: resnet50.a1_in1k is a resnet50."""
    return network.partition(".")[0]


def check_network(recipe: Recipe, *, first: bool, published: bool = False) -> None:
    """Judge the network of one model, and what settings name within it.

    Args:
        recipe: of the model.
        first: whether it is that of the run, or the first of an ensemble, which DELF is made of.
        published: whether pretrained weights are fetched, where the recipe asks for them.

    Raises:
        InputError: timm has no such network or weights, or it lacks what a setting names.
    """
    from embed import network_check  # torch takes seconds
    from rerank.delf.objective import find_level  # torch likewise

    train = recipe.train
    model = network_check.check_network(train, published=published and train.pretrained)
    if recipe.rerank.method == "delf" and (first or train.local_weight):
        find_level(model.backbone, recipe.rerank.delf)


def check_networks(job: Job) -> None:
    """Raise InputError if a model that is still to be trained has no network that suits it."""
    for place, member in enumerate(list_member_jobs(job)):
        if not is_trained(member.run):
            check_network(member.recipe, first=place == 0, published=member.weights is None)


def is_trained(run: Path) -> bool:
    """Tell whether the model of a run is finished."""
    return (run / "model" / "manifest.json").is_file()
