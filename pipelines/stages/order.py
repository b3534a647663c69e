"""Which stage needs which. What is missing of a run is made here, and what is there is not.

| artifact | made by | from |
|---|---|---|
| model/ | train | train, validation, the weights file |
| delf/, where DELF verifies | train_delf | model, train |
| embeddings/<split>/ | embed | model, the split |
| embeddings/<split>/ of an ensemble | embed_members | those of its members, which are runs |
| features/<split>/, where photos are verified | features | the split, delf/ |
| index/ | index | embeddings and features of database and non_landmark |
| changes/, if photos were added and the model is another | redescribe | index, these photos |
| decision/ | decide | index, embeddings and features of the photos held out of the training |
| submission.csv | submit | decision, embeddings and features of test |
| clean/ and a dataset folder | clean | embeddings and features of train |
| pairs/ and folders of groups | discover | embeddings and features of train, its near-duplicates |

A stage takes the manifests of what it needs and calls no other stage. Commands call this file
alone: once a command each artifact is looked for, and each table read. `redo` is known here only.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.errors import MissingFileError
from embed.graph import has_runtime
from pipelines.answers.description import description_key
from pipelines.artifacts import PACKED_DATA, Manifest, hash_values
from pipelines.datasets.dataset import ImageTable
from pipelines.datasets.group_folders import Discovered, check_as_written, find_done
from pipelines.decorations import draw_missing
from pipelines.runs.artifact import Artifact
from pipelines.runs.changes import list_changes
from pipelines.runs.decoding import decoding
from pipelines.runs.engines import lacks_graph
from pipelines.runs.job import Job
from pipelines.runs.members import link_first_model, list_member_jobs
from pipelines.runs.names import write_names
from pipelines.runs.networks import is_trained

from . import keys
from .plots import RELIABILITY, draw_missing_curves, draw_reliability
from .training_set import HELD_OUT, find_held_out

if TYPE_CHECKING:
    from rerank.cleaning import CleaningSettings
    from rerank.grouping import GroupingSettings

    from .clean import CleaningResult


def train(job: Job, *, redo: bool = False) -> Manifest:
    """Train the model, and DELF where the recipe asks for it; return the model's manifest.

    A model that was trained where there was no runtime for its graph gets it.
    """
    draw_missing_curves(job)
    order = Order(job, ("train", "train_delf") if redo else ())
    trained = order.model_with_graph()
    if job.recipe.rerank.method == "delf":
        order.delf()
    return trained


def embed(job: Job, *, redo: bool = False) -> None:
    """Describe the images of each split; done again also their local features."""
    order = Order(job, ("embed", "features") if redo else ())
    for split in (job.dataset.database_split, "test", "non_landmark"):
        if job.dataset.find_table(split):
            order.embeddings(split)
            if redo and order.verifies:
                order.features(split)  # of the same images, which have changed
    if redo:
        order.held_out()


def index(job: Job, *, redo: bool = False) -> Manifest:
    """Make all that queries are compared with; return the manifest of the index."""
    order = Order(job, ("index", "decision") if redo else ())
    order.decision()
    return order.index()


def submit(job: Job, *, redo: bool = False) -> Manifest:
    """Write the submission, and make all that it needs.

    Raises:
        MissingFileError: the dataset has no test table.
    """
    draw_missing_curves(job)
    return Order(job, ("submit",) if redo else ()).submission()


def clean(job: Job, folder: Path, settings: "CleaningSettings") -> "CleaningResult":
    """Write a dataset folder of the training images that others of their class confirm.

    Raises:
        InputError: see claim_folder and write_clean.
    """
    from .clean import claim_folder, verify_training, write_clean  # faiss and pandas take a second

    claim_folder(job, folder)
    order = Order(job)
    verify_training(job, settings, order.embeddings("train"), order.features("train"))
    return write_clean(job, folder, settings)


def discover(
    job: Job, photos: Path, into: Path, settings: "GroupingSettings", *, redo: bool = False
) -> Discovered:
    """Write a folder of links for each group of photos that show the same thing.

    Args:
        job: whose train table is the heap of these photos.
        photos: the folder of the heap.
        into: the folder to write.
        settings: what a pair and a group need.
        redo: read all photos again.

    Raises:
        InputError: somebody has named or moved what was written there.
    """
    asked = hash_values([keys.model_artifact(job).key, job.recipe.sha256, asdict(settings)])
    if not redo and (done := find_done(into, asked)):
        return done
    check_as_written(into)
    from .discover import verify_neighbors, write_groups  # faiss and pandas take seconds

    for member in list_member_jobs(job):
        model = keys.model_artifact(member)
        if model.find() is None:  # it is of other photos or weights, and nothing was trained
            model.forget()
    order = Order(job, ("embed", "features") if redo else ())
    verify_neighbors(job, order.embeddings("train"), order.features("train"), redo=redo)
    return write_groups(job, photos, into, settings, asked)


class Order:
    """The artifacts of a run: each is looked for, and made if need be, once."""

    def __init__(self, job: Job, redo: Collection[str] = ()) -> None:
        """Take the job, and the stages that are done again even if they are done."""
        self.job, self.redo = job, redo
        self.verifies = job.recipe.rerank.method != "none"
        self._made: dict[Path, Manifest] = {}
        self._check = cache(partial(_check, job, redo))

    def model(self) -> Manifest:
        """Return the model; of an ensemble train all, and return the first."""
        if not is_trained(self.job.run):
            self._check()
        if not self._members:
            if "train" in self.redo and not self._made:
                from .training_checks import (
                    check_joint,  # torch takes seconds, which are spent anyway
                )

                check_joint(self.job)
            trained = self._resolve(keys.model_artifact(self.job), _train)
            self.job.record()
            return trained
        self.job.record()
        link_first_model(self.job)
        models = [member.model() for member in self._members]
        return models[0]

    def model_with_graph(self) -> Manifest:
        """Return the model, whose graph is exported if it was not, and now can be."""
        trained = self.model()
        if self._members:
            models = [member.model_with_graph() for member in self._members]
            return models[0]
        job = self.job
        photos = job.dataset.find_table(job.dataset.class_split) is not None
        if photos and lacks_graph(job.recipe.embed.engine, trained.model) and has_runtime():
            artifact = keys.model_artifact(job)
            trained = self._made[artifact.folder] = _add_graph(artifact, trained)
        return trained

    def delf(self) -> Manifest:
        """Return the local features' model."""
        trained = self.model()
        make = partial(_train_delf, trained=trained)
        return self._resolve(keys.delf_artifact(self.job, trained), make)

    def embeddings(self, split: str) -> Manifest:
        """Return the embeddings of a split."""
        dataset = self.job.dataset
        return self._embed(split, dataset.hash_table(split), partial(dataset.load_split, split))

    def features(self, split: str) -> Manifest:
        """Return the local features of a split."""
        dataset = self.job.dataset
        return self._extract(split, dataset.hash_table(split), partial(dataset.load_split, split))

    def held_out(self) -> dict[str, Manifest]:
        """Return what is known of the photos held out of the training that the database lacks."""
        table = find_held_out(self.job.dataset, self.job.recipe.train)
        if table is None:
            return {}
        key = hash_values([table.ids, table.landmark_ids.tolist()])
        made = {HELD_OUT: self._embed(HELD_OUT, key, lambda: table)}
        if self.verifies:
            made[f"features {HELD_OUT}"] = self._extract(HELD_OUT, key, lambda: table)
        return made

    def index(self) -> Manifest:
        """Return the index."""
        splits = [self.job.dataset.database_split]
        if self.job.dataset.find_table("non_landmark"):
            splits.append("non_landmark")
        embedded = {split: self.embeddings(split) for split in splits}
        features = {split: self.features(split) for split in splits if self.verifies}
        make = partial(_index, embedded=embedded[splits[0]])
        return self._resolve(keys.index_artifact(self.job, embedded, features), make)

    def changes(self) -> None:
        """Describe photos that were added to the database anew, where they have to be."""
        added = [change for change in list_changes(self.job.run) if change.adds]
        if not added:
            return
        fingerprint = str(self.index().model["fingerprint"])
        key = description_key(self.job.run, self.job.recipe, fingerprint)
        if any(change.manifest.key != key for change in added):
            from .redescribe import redescribe  # OpenVINO or torch

            redescribe(self.job)

    def decision(self) -> Manifest:
        """Return the decision; changes of the database do not move it."""
        indexed = self.index()
        write_names(self.job, indexed)
        self.changes()
        make = partial(_decide, indexed=indexed)
        artifact = keys.decision_artifact(self.job, indexed, self.held_out())
        decided = self._resolve(artifact, make)
        plot = self.job.run / "decision" / RELIABILITY
        draw_missing(plot, partial(draw_reliability, self.job.run))
        return decided

    def submission(self) -> Manifest:
        """Return the submission. Raises MissingFileError if the dataset has no test table."""
        job = self.job
        if job.dataset.find_table("test") is None:
            raise MissingFileError(
                f"{job.data} has no test.csv, so there is nothing to submit; to ask about photos "
                f"run `cairn index --run {job.run}`, then `cairn query --run {job.run} photo.jpg`"
            )
        self.decision()
        indexed, embedded = self.index(), self.embeddings("test")
        features = self.features("test") if self.verifies else None
        artifact = keys.submission_artifact(job, indexed, embedded, features)
        return self._resolve(artifact, partial(_submit, indexed=indexed))

    @cached_property
    def _members(self) -> "list[Order]":
        if not self.job.recipe.ensemble.members:
            return []
        members = [Order(member, self.redo) for member in list_member_jobs(self.job)]
        for member in members:
            member._check = self._check
        return members

    def _embed(
        self,
        name: str,
        table_hash: str,
        load: Callable[[], ImageTable],
        decode: Mapping[str, Any] | None = None,  # of the run that this is a member of
    ) -> Manifest:
        trained, decode = self.model(), decode or decoding(self.job.recipe)
        if not self._members:
            artifact = keys.embeddings_artifact(self.job, name, table_hash, trained, decode)
            return self._resolve(artifact, lambda found: _embed(found, load(), trained))
        made = {
            each.job.run.name: each._embed(name, table_hash, load, decode) for each in self._members
        }
        artifact = keys.combined_artifact(self.job, name, table_hash, made)
        return self._resolve(artifact, lambda found: _combine(found, load(), list(made.values())))

    def _extract(self, name: str, table_hash: str, load: Callable[[], ImageTable]) -> Manifest:
        if self.job.recipe.rerank.method == "delf":
            self.delf()
        artifact = keys.features_artifact(self.job, name, table_hash)
        return self._resolve(artifact, lambda found: _extract(found, load()))

    def _resolve(self, artifact: Artifact, make: Callable[[Artifact], Manifest]) -> Manifest:
        """Return an artifact that is there, or make it."""
        if artifact.folder not in self._made:
            again = artifact.stage in self.redo
            done = None if again else artifact.find()
            if done is None:
                self._check()
            if again:
                artifact.forget()
            self._made[artifact.folder] = done or make(artifact)
        return self._made[artifact.folder]


def _check(job: Job, redo: Collection[str]) -> None:
    """Judge the dataset before anything is made of it: see Dataset.check.

    Raises MissingFileError, too, if the run was packed without the photos.
    """
    if job.data.resolve() == (job.run / PACKED_DATA).resolve():
        if not (job.data / "images").is_dir():
            raise MissingFileError(
                f"{job.run} was packed without its photos, which this needs; --data FOLDER says "
                "where the dataset is"
            )
    if (job.run / "run.json").is_file():  # else start_job has, before it made the run folder
        job.dataset.check(training=will_train(job) or "train" in redo)


def will_train(job: Job) -> bool:
    """Tell whether a model of the job is yet to be trained."""
    return any(
        member.recipe.train.epochs and not is_trained(member.run)
        for member in list_member_jobs(job)
    )


# What makes an artifact is imported when one is missing: torch and faiss take seconds.


def _train(artifact: Artifact) -> Manifest:
    from .train import train  # torch

    return train(artifact)


def _add_graph(artifact: Artifact, trained: Manifest) -> Manifest:
    from .export import add_graph  # torch

    return add_graph(artifact, trained)


def _train_delf(artifact: Artifact, trained: Manifest) -> Manifest:
    from .train_delf import train_local_features  # torch

    return train_local_features(artifact, trained)


def _embed(artifact: Artifact, table: ImageTable, trained: Manifest) -> Manifest:
    from .embed import embed_table  # torch

    return embed_table(artifact, table, trained)


def _combine(artifact: Artifact, table: ImageTable, made: list[Manifest]) -> Manifest:
    from .embed_members import combine_members  # faiss

    return combine_members(artifact, table, made)


def _extract(artifact: Artifact, table: ImageTable) -> Manifest:
    from .features import extract_table  # torch, where DELF is extracted

    return extract_table(artifact, table)


def _index(artifact: Artifact, embedded: Manifest) -> Manifest:
    from .index import index_database  # faiss

    return index_database(artifact, embedded)


def _decide(artifact: Artifact, indexed: Manifest) -> Manifest:
    from .decide import set_decision  # faiss

    return set_decision(artifact, indexed)


def _submit(artifact: Artifact, indexed: Manifest) -> Manifest:
    from .submit import submit  # faiss

    return submit(artifact, indexed)
