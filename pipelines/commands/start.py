"""Open the job that the options of a command name."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from embed.errors import InputError

if TYPE_CHECKING:
    from pipelines.runs.job import Job
    from pipelines.runs.recipe import Scale

logger = logging.getLogger(__name__)

P = ParamSpec("P")
Start = Callable[Concatenate[Path | None, Path | None, P], "Job"]


def _judge_tables_too(start: Start[P]) -> Start[P]:
    """Let an error of a recipe or a file say what is wrong with the dataset, too."""

    @wraps(start)
    def judged(data: Path | None, run: Path | None, /, *args: P.args, **options: P.kwargs) -> "Job":
        try:
            return start(data, run, *args, **options)
        except InputError as error:
            more = [text for text in _find_problems(data, run) if text not in str(error)]
            if not more:
                raise
            listed = (f"- {text}" for text in [*error.lines, *more])
            raise InputError(f"{len(more) + 1} things have to be mended", *listed) from error

    return judged


def _find_problems(data: Path | None, run: Path | None) -> list[str]:
    """Return what is wrong with the dataset, if there is one, of whatever job that may be."""
    from pipelines.datasets.dataset import Dataset
    from pipelines.runs.job import find_data, pick_run, read_run

    with contextlib.suppress(ValueError, OSError):  # the error that is there counts
        place = pick_run(data, run)
        recorded = None if data is not None else read_run(place)
        folder = data or (find_data(place, recorded) if recorded else None)
        return Dataset(folder).find_problems()[0] if folder else []
    return []


@_judge_tables_too
def start_job(
    data: Path | None,
    run: Path | None,
    recipe: str | None,
    weights: Path | None,
    *,
    workers: int | None,
    time: float | None = None,
    devices: int = 1,
    min_precision: float | None = None,
    scale: "Scale | None" = None,
    changes: Sequence[str] = (),
    tensorboard: Path | None = None,
    profile: bool = False,
) -> "Job":
    """Return the job that the options name; its dataset is there, and that of a new run checked.

    The demo city is rendered if need be, and the data that the recipe asks for are chosen. With a
    time, in seconds, the recipe is, too. Raises what open_job, load_recipe, choose_by_time,
    prepare_data and Dataset.check raise.
    """
    from pipelines.answers.extractors import fetch_extractor
    from pipelines.runs.job import count_workers, is_demo, open_job
    from pipelines.runs.networks import check_networks, settle_network
    from pipelines.runs.recipe import change_recipe
    from pipelines.stages.order import will_train
    from pipelines.stages.prepared_data import find_source, prepare_data

    job = open_job(
        data,
        run,
        recipe,
        weights,
        workers=count_workers() if workers is None else workers,
        devices=devices,
        tensorboard=tensorboard,
        profile=profile,
    )
    if time is not None:
        job = _choose_by_time(job, time, recipe, changes)
    job = _change_recipe(job, recipe, scale, changes)
    if min_precision is not None:
        precise = change_recipe(job.recipe, [f"decide.min_precision={min_precision}"])
        job = replace(job, recipe=precise)
    job = settle_network(job, changes)
    _log_changes(job)
    _warn_of_unused(job, recipe, scale, changes)
    source = find_source(job)
    if is_demo(source) or source.is_dir():  # else the error below is what matters
        check_networks(job)
        if not (job.run / "features").is_dir():
            fetch_extractor(job.recipe.rerank)
    if is_demo(source):
        from pipelines.sources.demo import render_demo

        render_demo(source)
    job = prepare_data(job)
    if not (job.run / "run.json").is_file():  # of a known run when something is to be made
        job.dataset.check(training=will_train(job))
    return job


def _choose_by_time(job: "Job", time: float, recipe: str | None, changes: Sequence[str]) -> "Job":
    """Return the job with the recipe that the time allows. Raises InputError if one is named."""
    from pipelines.runs.job import is_demo

    named = [f"--recipe {recipe}"] if recipe else []
    named += [f"--set {each}" for each in changes if each.startswith("train.backbone")]
    if named:
        raise InputError(f"--time chooses the network, which {named[0]} names: leave one away")
    if is_demo(job.data) and not job.data.is_dir():
        from pipelines.sources.demo import render_demo

        render_demo(job.data)
    if not job.data.is_dir():
        return job  # the error of who reads it next is what matters
    from pipelines.stages.strongest import choose_by_time  # torch takes seconds

    return choose_by_time(job, time)


def _change_recipe(
    job: "Job", recipe: str | None, scale: "Scale | None", changes: Sequence[str]
) -> "Job":
    """Return the job at a scale, with changes.

    Without a recipe or a scale to start from, what the run has recorded is changed.
    """
    from pipelines.runs.recipe import change_recipe, load_recipe

    if scale is None and not (recipe and changes):
        return replace(job, recipe=change_recipe(job.recipe, changes)) if changes else job
    return replace(job, recipe=load_recipe(job.recipe_name, scale or "full", changes))


def _log_changes(job: "Job") -> None:
    """Log which settings are otherwise than a run has recorded: all that was set before may go."""
    from pipelines.runs.job import read_run
    from pipelines.runs.recipe_files import flatten

    try:
        recorded = read_run(job.run)
    except InputError:  # damaged, and all that it held was named again: open_job saw to it
        return
    if recorded is None:
        return
    old, new = flatten(recorded["settings"]), flatten(job.recipe.model_dump(mode="json"))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    changed = [key for key in keys if key != "description"]
    if changed:
        more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
        logger.info(
            "%s was begun with other settings: now others are %s%s",
            *(job.run, ", ".join(changed[:6]), more),
        )


def _warn_of_unused(
    job: "Job", recipe: str | None, scale: "Scale | None", changes: Sequence[str]
) -> None:
    """Log which of the changes, and of what an own recipe file says, change nothing."""
    from pipelines.runs.recipe_files import read_keys
    from pipelines.runs.unused_settings import find_unused

    keys = {change.partition("=")[0].strip(): f"--set {change}" for change in changes}
    if recipe is not None and recipe.endswith(".toml"):
        keys = {
            key: f"{key} of {recipe}" for key in sorted(read_keys(recipe, scale or "full"))
        } | keys
    unused = find_unused(job.recipe, keys)
    if job.weights is not None and "train.pretrained" in keys:
        unused["train.pretrained"] = f"the weights are those of {job.weights}"
    for key, reason in unused.items():
        logger.warning("%s changes nothing: %s", keys[key], reason)
