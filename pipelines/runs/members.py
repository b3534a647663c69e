"""The models of an ensemble: each is trained and described in a run folder of its own.

Reads and writes members/<name>/ of a run. What the members say of an image becomes one descriptor
and one list of classes, and whatever follows need not know that there are several.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from classify_head.settings import EnsembleSettings
from embed.errors import InputError
from pipelines.artifacts import hash_values

from .job import Job
from .recipe import Recipe, member_recipe


def list_members(run: Path, recipe: Recipe) -> dict[Path, Recipe]:
    """Return the run folder and the recipe of each model: the run itself where there is one."""
    names = recipe.ensemble.members
    if not names:
        return {run: recipe}
    return {run / "members" / name: member_recipe(recipe, name) for name in names}


def list_member_jobs(job: Job) -> list[Job]:
    """Return a job for each model of a run."""
    if not job.recipe.ensemble.members:
        return [job]
    folders = list_members(job.run, job.recipe).items()
    curves = job.tensorboard  # a folder for each: a training writes over what is in its own
    return [
        replace(job, run=run, recipe=recipe, tensorboard=curves and curves / run.name)
        for run, recipe in folders
    ]


def link_first_model(job: Job) -> None:
    """Let model/ of an ensemble be that of its first member, which local features are made with."""
    first = list_member_jobs(job)[0].run / "model"
    link = job.run / "model"
    target = Path("members") / first.parent.name / "model"
    if link.is_symlink() and link.readlink() == target:
        return
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise InputError(
            f"{link} holds a model that is no ensemble's; name another --run for this recipe"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=True)


def ensemble_fingerprint(fingerprints: Sequence[str], settings: EnsembleSettings) -> str:
    """Return what names the ensemble: its members, and how they answer together."""
    return hash_values([list(fingerprints), settings.rule, list(settings.weights)])
