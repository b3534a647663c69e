"""The model card of a run: what it knows, how well, what it cannot do, and whose photos it has.

Reads the tables of the dataset, manifests and the journal of changes. The same facts twice: for
people as Markdown, and as JSON for programs.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.strong_backbones import STRONG_BACKBONES
from embed.table_file import TableFile, as_text, read_table
from pipelines.answers.decision import load_decision_values, tell_promise
from pipelines.answers.live import load_live
from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import Dataset
from pipelines.runs.integrity import intact_file
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs

README, CARD = "README.md", "card.json"
LICENSE_COLUMNS = ("license", "licence")
WITH_PHOTOS = ("index", "train", "test")
FEW = 3  # photos: a landmark that has fewer is found less often


@dataclass(frozen=True)
class Network:
    """A network that describes photos."""

    architecture: str
    image_size: int  # pixels, side of the square
    fingerprint: str  # of the weights
    trained_on: int  # photos of the train table; 0 where it was taken as it is
    license: str  # of the weights that it began with; empty where that is not known


@dataclass(frozen=True)
class Card:
    """What a run is. Counts are of photos."""

    name: str
    recipe: str
    description: str
    networks: tuple[Network, ...]
    database: int
    landmarks: int
    named: int  # landmarks with a name
    added: int  # photos of the database that were added since it was indexed
    removed: int
    pool: int  # photos that show no landmark
    local_features: str  # method; none
    policy: str
    threshold: float | None  # confidence, from which an answer is given; None: the policy's rule
    promises: tuple[str, ...]
    figures: Mapping[str, Any] | None  # as `cairn evaluate --json`, without seconds
    changed: bool  # the database has changed since these were measured
    limits: tuple[str, ...]  # what it cannot do
    licenses: Mapping[str, int]  # of photos, as the tables name them

    def to_json(self) -> bytes:
        """Return all as indented JSON."""
        return (json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n").encode()


def make_card(job: Job, metrics: Mapping[str, Any] | None) -> Card:
    """Return the card of a run.

    Args:
        job: an indexed run, and its dataset.
        metrics: what evaluate_run says of it; None where nothing was scored.

    Raises:
        MissingFileError: the run is not indexed, or the dataset is gone.
        InputError: a file is damaged.
    """
    dataset, live = job.dataset, load_live(job.run)
    indexed = load_manifest(job.run / "index")
    assert indexed is not None  # load_live has seen it
    sizes = live.table.class_sizes(live.table.landmarks)
    values = load_decision_values(job.run)
    policy = job.recipe.decide.make_policy()
    share = job.recipe.decide.distractor_share
    pool = load_manifest(job.run / "embeddings" / "non_landmark")
    added = sum(len(each.images) for each in live.added)
    return Card(
        name=job.run.resolve().name,
        recipe=Path(job.recipe_name).stem,
        description=job.recipe.description,
        networks=tuple(_list_networks(job)),
        database=int(sizes.sum()),
        landmarks=len(sizes),
        named=sum(n in live.names for n in live.table.landmarks.tolist()),
        added=added,
        removed=int(live.removed[: len(live.indexed)].sum()),
        pool=pool.counts["written"] if pool and "non_landmark" in indexed.inputs else 0,
        local_features=job.recipe.rerank.method,
        policy=job.recipe.decide.policy,
        threshold=values.get("threshold") if policy.rejection.name == "none" else None,
        promises=tuple(
            tell_promise(found, share, kind)
            for kind, found in (values.get("promise") or {}).items()
            if found
        ),
        figures=None if metrics is None else {n: v for n, v in metrics.items() if n != "seconds"},
        changed=_has_changed(job.run, live.content),
        limits=tuple(_list_limits(job, sizes, added)),
        licenses=_count_licenses(dataset),
    )


def _has_changed(run: Path, content: str) -> bool:
    """Tell whether the database is not what the submission was made of."""
    submitted = load_manifest(run / "submit")
    return submitted is not None and submitted.inputs.get("changes", "") != content


def _list_limits(job: Job, sizes: NDArray[np.int64], added: int) -> Iterator[str]:
    """Yield what answers of a run cannot say, a sentence each."""
    recipe, few = job.recipe, int((sizes < FEW).sum())
    yield (
        f"It knows the {len(sizes)} landmarks of its database and no others: of anything else the "
        "best answer is none. New ones are added without training: cairn add."
    )
    if few:
        yield f"{few} of the landmarks have fewer than {FEW} photos, and are found less often."
    if added:
        yield (
            f"{added} photos were added since the decision was set: the confidence of their "
            "landmarks was not measured."
        )
    if not job.dataset.find_table("non_landmark"):
        yield "It was shown no photos without a landmark: how well it refuses them is not measured."
    if recipe.rerank.method == "none":
        yield "Answers rest on likeness alone: no geometry verifies them."
    else:
        yield (
            "Geometry verifies what is flat and textured; of glass, water, foliage, and of views "
            "from another side, it verifies little."
        )
    if recipe.decide.most_answers == 1:
        yield "It names one landmark a photo."
    yield (
        "Figures hold for photos like those of the test set. Other cameras, seasons or crops, and "
        "other shares of photos without a landmark, give others."
    )
    yield "A match is no proof of a place: photos of copies and of posters match, too."


def _list_networks(job: Job) -> Iterator[Network]:
    dataset = job.dataset
    trained = len(dataset.load_split("train").ids) if dataset.find_table("train") else 0
    for member in list_member_jobs(job):
        model = json.loads(intact_file(member.run / "model", "model.json").read_bytes())
        spec, train = model["spec"], member.recipe.train
        architecture = str(spec["backbone"]["architecture"])
        known = STRONG_BACKBONES.get(architecture.partition(".")[0])
        fetched = train.pretrained and job.weights is None and known is not None
        yield Network(
            architecture,
            int(spec["image_size"]),
            str(model["fingerprint"]),
            trained if train.epochs else 0,
            known.license if known is not None and fetched else "",
        )


def _count_licenses(dataset: Dataset) -> dict[str, int]:
    """Return how many photos have which licence, of tables that have a column of them."""
    found: Counter[str] = Counter()
    for table, column in ((t, c) for t in WITH_PHOTOS for c in LICENSE_COLUMNS):
        if path := dataset.find_table(table):
            with contextlib.suppress(InputError):  # it has no such column
                values = as_text(read_table(TableFile.open(path), [column])[column], column, path)
                found.update(values.to_pylist())
    return dict(found.most_common())
