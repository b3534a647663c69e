"""Say what of a plan does not fit on the machine, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.runs.recipe import Recipe

from .machine import Machine
from .stage_plan import Part, StagePlan
from .units import DAY, say_bytes, say_seconds

LONG = 7 * DAY  # seconds that nobody waits for
FEWER_IMAGES = "fewer images a landmark: cairn data select --cap 100"


@dataclass(frozen=True)
class Limit:
    """Something that does not fit."""

    stage: str
    problem: str
    remedy: str


def find_limits(stages: Sequence[StagePlan], machine: Machine, recipe: Recipe) -> tuple[Limit, ...]:
    """Return what is too large for the machine, or too long for anybody."""
    found = [*_check_disk(stages, machine, recipe)]
    for stage in stages:
        found += _check_memory(stage, machine, recipe)
        found += _check_time(stage, recipe)
    return tuple(found)


def _check_disk(stages: Sequence[StagePlan], machine: Machine, recipe: Recipe) -> Iterator[Limit]:
    kept, most = 0.0, 0.0
    for stage in stages:
        kept += stage.disk
        most = max(most, kept + stage.scratch)
    if most <= machine.disk_free:
        return
    stage, part = max(
        ((stage, part) for stage in stages for part in stage.parts), key=lambda pair: pair[1].disk
    )
    yield Limit(
        stage.stage,
        f"the run takes {say_bytes(most)} on disk, {say_bytes(machine.disk_free)} are free; "
        f"most of it, {say_bytes(part.disk)}, for: {part.what}",
        _remedy_disk(part, recipe),
    )


def _remedy_disk(part: Part, recipe: Recipe) -> str:
    if part.kind == "extract":
        rerank = recipe.rerank
        count = rerank.delf.max_features if rerank.method == "delf" else rerank.max_features
        name = "rerank.delf.max_features" if rerank.method == "delf" else "rerank.max_features"
        return (
            f'lower {name} (now {count}); or do without: rerank.method = "none"; or '
            f"{FEWER_IMAGES}; or name a --run on a larger disk"
        )
    if part.kind == "describe" and recipe.embed.dtype != "float16":
        return f'embed.dtype = "float16" halves it; or {FEWER_IMAGES}'
    return f"{FEWER_IMAGES}; or name a --run on a larger disk"


def _check_memory(stage: StagePlan, machine: Machine, recipe: Recipe) -> Iterator[Limit]:
    if stage.total_memory <= machine.memory:
        return
    name = max(stage.memory, key=lambda name: stage.memory[name])
    remedies = {
        "batches": f"lower {_name_batch(recipe)} or train.image_size (now "
        f"{recipe.train.image_size})"
        if stage.stage == "train"
        else f"lower embed.batch_size (now {recipe.embed.batch_size})",
        "model and head": "fewer classes: cairn data select --min-count 10",
        "ids": f"fewer --workers; or {FEWER_IMAGES}",
        "descriptors": f"{_shorten(recipe)}; or {FEWER_IMAGES}",
        "shards": f"lower embed.shard_size (now {recipe.embed.shard_size})",
        "features": "lower rerank.max_features",
        "features of classes": f"lower rerank.candidates (now {recipe.rerank.candidates})",
        "queries": f"lower search.neighbors (now {recipe.search.neighbors})",
    }
    yield Limit(
        stage.stage,
        f"needs {say_bytes(stage.total_memory)} of memory, the machine has "
        f"{say_bytes(machine.memory)}; most of it, {say_bytes(stage.memory[name])}, for: {name}",
        remedies.get(name, FEWER_IMAGES),
    )


def _check_time(stage: StagePlan, recipe: Recipe) -> Iterator[Limit]:
    if stage.alone <= LONG:
        return
    part = max(stage.parts, key=lambda part: part.alone)
    remedies = {
        "train": f"a GPU; fewer epochs (train.epochs, now {recipe.train.epochs}); {FEWER_IMAGES}",
        "validate": "train.validation_share = 0: no epoch is judged, the last one counts",
        "describe": f"a GPU; one view: {_name_views(recipe)}; {FEWER_IMAGES}",
        "extract": f"lower rerank.max_side (now {recipe.rerank.max_side}); rerank.method = "
        f'"none"; {FEWER_IMAGES}',
        "search": f"{_shorten(recipe)}; {FEWER_IMAGES}",
        "verify": f"lower rerank.candidates (now {recipe.rerank.candidates})",
    }
    yield Limit(
        stage.stage,
        f"takes {say_seconds(stage.seconds)}; most of it, {say_seconds(part.seconds)}, for: "
        f"{part.what}",
        remedies.get(part.kind, FEWER_IMAGES),
    )


def _name_batch(recipe: Recipe) -> str:
    """Return the setting that the size of batches is due to, with its value."""
    train = recipe.train
    if train.group == 1 and train.batch_size:
        return f"train.batch_size (now {train.batch_size})"
    return f"train.classes_per_batch (now {train.classes_per_batch})"


def _name_views(recipe: Recipe) -> str:
    """Return the setting that makes one view of several."""
    return "embed.crops = 0" if recipe.embed.crops > 1 else "embed.scales = [1.0]"


def _shorten(recipe: Recipe) -> str:
    """Return what makes descriptors shorter."""
    if not recipe.train.dim:
        return "set train.dim, 256 say (now 0: all that pooling returns)"
    return f"lower train.dim (now {recipe.train.dim})"
