"""Stage `data` of a run: the images that the recipe's section [data] chooses, as a dataset.

Reads the tables of the job's dataset. Writes data/ of the run: a dataset folder that shares the
images of the other one, and manifest.json. Opens no image.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

from embed.errors import InputError
from pipelines.artifacts import PACKED_DATA, Manifest, invalidate, load_manifest, record_file
from pipelines.datasets.dataset import SIDE_TABLES, TABLES, Dataset
from pipelines.datasets.selection.settings import Split
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job

logger = logging.getLogger(__name__)

SOURCE = "selected from"  # how dataset.json of the folder names the dataset it was made of


def prepare_data(job: Job) -> Job:
    """Return the job with the dataset that its recipe asks for, which is made if need be.

    The dataset is the job's own where the recipe asks for nothing, or where the run was packed,
    whose dataset is what was chosen. What a run was begun with
    stays: with other tables or settings its model, too, would have to be another.

    Raises:
        InputError: the run holds data of other tables or settings; or see select_dataset.
        FileNotFoundError: the dataset that the run's data were selected from is gone.
    """
    settings = job.recipe.data
    if settings.changes_nothing or job.data.resolve() == (job.run / PACKED_DATA).resolve():
        return job
    source, folder = job.open_dataset(find_source(job)), job.run / "data"
    artifact = Artifact(job, "data", folder, settings.model_dump(mode="json"), _hash(source))
    if artifact.find() is None:
        source.check_tables()  # of all that is wrong there, not what a selection meets
        with job.locked():
            _refuse_other_data(job, artifact)
            _select(job, source, artifact)
    return replace(job, data=folder)


def find_source(job: Job) -> Path:
    """Return the dataset folder that a job starts from.

    That is the job's own, or where run.json names the data of the run, what they were made of.
    """
    if job.data.resolve() != (job.run / "data").resolve():
        return job.data
    path = job.data / "dataset.json"
    origin = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Path(origin.get(SOURCE, job.data))


def fit_split(split: Split, source: Dataset) -> Split:
    """Return the split without the sets that the dataset has already: those are kept.

    Without its test set, by-size is `shares`: the same share of each class validates.
    """
    has_test = any(source.find_table(name) for name in ("test", "solution"))
    validation = 0.0 if source.find_table("validation") else split.validation
    if not has_test:
        none_left = split.method != "by-size" and not (validation or split.test)
        return Split() if none_left else replace(split, validation=validation)
    if not validation:
        return Split()
    method = "shares" if split.method == "by-size" else split.method
    return replace(split, method=method, validation=validation, test=0.0)


def _hash(source: Dataset) -> dict[str, str]:
    """Return the hash of each table that a selection reads or copies."""
    names = [name for name in (*TABLES, *SIDE_TABLES) if source.find_table(name)]
    return {name: source.hash_table(name) for name in names}


def _refuse_other_data(job: Job, artifact: Artifact) -> None:
    """Raise InputError if the folder holds finished data of other tables or settings."""
    old = load_manifest(artifact.folder)
    if old is None or old.key == artifact.key:  # a file of it may be gone: it is made again
        return
    changed = [
        f"data.{name}"
        for name in artifact.settings
        if artifact.settings[name] != old.settings.get(name)
    ]
    names = sorted({*artifact.inputs, *old.inputs})
    changed += [f"table {n}" for n in names if artifact.inputs.get(n) != old.inputs.get(n)]
    raise InputError(
        f"{artifact.folder} was made with other {', '.join(changed)}; name another --run, or "
        f"delete {job.run}"
    )


def _select(job: Job, source: Dataset, artifact: Artifact) -> Manifest:
    """Write the dataset, and say what was chosen."""
    # pandas takes half a second that a finished run has no need of
    from pipelines.datasets.selection.select import select_dataset

    settings, folder = job.recipe.data, artifact.folder
    invalidate(folder)
    requested = settings.make_split()
    split = fit_split(requested, source)
    for name in ("validation", "test"):
        if getattr(requested, f"makes_{name}") and not getattr(split, f"makes_{name}"):
            logger.info(
                "%s has a %s set of its own: that is kept, none is drawn", source.folder, name
            )
    try:
        selection = select_dataset(
            source,
            folder,
            settings.make_filters(),
            split,
            seed=settings.seed,
            unknown=settings.unknown,
        )
    except InputError as error:
        raise InputError(
            f"{error} (these are options of `cairn data select`; in a recipe they are keys of "
            "[data]: --set data.min_count=5; with --scale small the reports' recipes take any data)"
        ) from error
    counts = [
        f"{name} {part.images} images of {part.landmarks} landmarks"
        for name, part in selection.parts.items()
    ]
    logger.info("%s: %s", folder, "; ".join([*counts, *selection.notes]))
    written = sorted(path for path in folder.iterdir() if path.is_file())
    return artifact.sign([record_file(path) for path in written])
