"""Stage `discover`: photos that nobody has labelled to groups that show the same thing.

Reads the embeddings and features of a run whose train table is the heap (pipelines.sources.heap),
and a scan of its photos for near-duplicates. Writes pairs/ of the run: part-*.parquet,
images.parquet, failures.parquet, manifest.json; and into a folder of people's own: a folder of
links for each group, groups.csv, and failures.csv where photos could not be read.
Goes on after the last whole part of an interrupted run. `rerank.grouping` has the rule.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.columns import find_places
from embed.files import writing
from embed.meter import Meter
from embed.parallel import run_parallel
from embed.printable import printable
from embed.shards import Embeddings
from index.base import BaseIndex
from pipelines.answers.open_run import load_split_embeddings, load_split_failures, open_features
from pipelines.artifacts import Manifest
from pipelines.datasets.checking.catalogue import open_catalogue
from pipelines.datasets.checking.duplicates import find_duplicates
from pipelines.datasets.checking.groups import NO_GROUP, number_groups
from pipelines.datasets.checking.scan import scan_dataset
from pipelines.datasets.dataset import ImageTable
from pipelines.datasets.derive import read_rows
from pipelines.datasets.group_folders import (
    FAILURES,
    PAGE,
    TABLE,
    Discovered,
    check_as_written,
    write_group_folders,
)
from pipelines.runs.artifact import Artifact
from pipelines.runs.integrity import intact_parts
from pipelines.runs.job import Job
from pipelines.runs.parts import Rows
from rerank.grouping import ALONE, GroupingSettings, Groups, Pairs, group_photos, mutual_neighbors
from rerank.settings import VERIFICATION
from rerank.verify import verify_candidates

NEIGHBORS = 50  # nearest photos that may show the same thing
PART_SIZE = 512  # photos in one file; the unit of resuming
COLUMNS = ("image", "group", "by", "inliers", "joined_to")  # of groups.csv

LISTS = pa.list_(pa.int64())

Ints = NDArray[np.int64]


def find_originals(job: Job, images: Embeddings) -> Ints:
    """Return [N] for each photo the row of that which it is a near-duplicate of, or its own.

    Duplicates of duplicates have one original, the largest of them.
    """
    catalogue = open_catalogue(job.dataset, scan_dataset(job.dataset))
    groups = number_groups(catalogue, find_duplicates(catalogue, job.data))
    places = find_places(pa.array(catalogue.ids, pa.string()), images.ids)
    originals = np.arange(len(images.ids))
    first: dict[int, int] = {}  # the larger photos come first in a catalogue
    for place, group in zip(places.tolist(), groups.tolist(), strict=True):
        if place >= 0 and group != NO_GROUP:
            originals[place] = first.setdefault(group, place)
    return originals


def verify_neighbors(
    job: Job, embedded: Manifest, extracted: Manifest, *, redo: bool = False
) -> Manifest:
    """Count the inliers of photos that may show the same thing, or return what is there.

    Args:
        job: of the run.
        embedded: the embeddings of the photos.
        extracted: their local features.
        redo: do it again even if it is done.
    """
    geometry = job.recipe.rerank
    artifact = Artifact(
        job,
        "discover",
        job.run / "pairs",
        {
            "neighbors": NEIGHBORS,
            "verification": geometry.model_dump(include=VERIFICATION),
        },
        {"train": embedded.content, "features train": extracted.content},
    )
    if redo:
        artifact.forget()
    elif done := artifact.find():
        return done
    images = load_split_embeddings(job.run, "train")
    store = open_features(job.run, "train", job.recipe)
    assert store is not None  # the recipe names a method
    originals = find_originals(job, images)
    pairs = choose_pairs(images.vectors, originals)
    others = np.split(pairs[:, 1], np.searchsorted(pairs[:, 0], np.arange(1, len(images.ids))))

    def make_part(rows: Sequence[int], meter: Meter) -> Rows:
        def verify(row: int) -> list[int]:
            features = store.get(images.ids[row])
            near = store.get_many(images.ids[other] for other in others[row])
            known = [each for each in near if each is not None]
            meter.advance(1)
            if features is None:
                return [0] * len(near)
            counts = iter(verify_candidates(features, known, geometry))
            return [0 if each is None else next(counts).n_inliers for each in near]

        inliers = run_parallel(verify, rows)
        table = {
            "image_id": [images.ids[row] for row in rows],
            "original": originals[rows],
            "near": pa.array([others[row].tolist() for row in rows], LISTS),
            "inliers": pa.array(inliers, LISTS),
        }
        return pa.table(table), []  # what cannot be read was said when it was embedded

    table = ImageTable(job.dataset.load_split("train").path, images.ids, images.landmark_ids)
    return artifact.write_parts(
        table, PART_SIZE, lambda parts, meter: (make_part(rows, meter) for rows in parts)
    )


def choose_pairs(vectors: NDArray[np.float32], originals: Ints) -> Ints:
    """Return [P, 2] rows of photos that may show the same thing: each is near the other.

    Args:
        vectors: [N, dim] descriptors of length 1.
        originals: [N] as find_originals returns; near-duplicates are not compared again.
    """
    rows = np.unique(originals)
    kept = vectors[rows]
    found = BaseIndex.build(kept).search(kept, NEIGHBORS + 1)  # the nearest is itself
    return rows[mutual_neighbors(found.rows)]


def read_pairs(run: Path, images: Embeddings) -> tuple[Ints, Pairs]:
    """Return the original of each photo of a run, [N], and the pairs, as verify_neighbors wrote."""
    table = pa.concat_tables([pq.read_table(path) for path in intact_parts(run / "pairs")])
    places = find_places(table["image_id"], images.ids)
    first = np.repeat(places, np.asarray(pc.list_value_length(table["near"])))
    second, inliers = (np.asarray(pc.list_flatten(table[name])) for name in ("near", "inliers"))
    originals = np.asarray(table["original"])[np.argsort(places)]
    return originals, Pairs(first, second, inliers).take(np.lexsort((second, first)))


def write_groups(
    job: Job, photos: Path, into: Path, settings: GroupingSettings, asked: str
) -> Discovered:
    """Write the folders of the groups and groups.csv; return how many there are.

    Args:
        job: of the run whose pairs are verified.
        photos: the folder that the heap was made of.
        into: the folder to write, as check_as_written takes it.
        settings: what a pair and a group need.
        asked: the hash of what they are made of, see find_done.

    Raises:
        InputError: somebody has named or moved folders meanwhile.
    """
    check_as_written(into)
    for name in (PAGE, TABLE, FAILURES):  # of the groups before
        (into / name).unlink(missing_ok=True)
    images = load_split_embeddings(job.run, "train")
    found = group_photos(*read_pairs(job.run, images), settings)
    listed = read_rows(job.dataset.require_table("train"))
    files = dict(zip(listed["id"].to_pylist(), listed["file"].to_pylist(), strict=True))
    names = [files[image_id] for image_id in images.ids]
    sizes = np.bincount(found.group[found.group != ALONE])
    folders = [f"group-{number:03d}-{size}-photos" for number, size in enumerate(sizes)]
    write_group_folders(_list_links(found, folders, images.ids, names, photos), into, asked)
    failures, start = load_split_failures(job.run, "train"), printable(f"{job.dataset.folder}/")
    places = {image_id: printable(str(job.dataset.locate(image_id))) for image_id in failures}
    failed = [
        (files[image_id], reason, message.removeprefix(f"{places[image_id].removeprefix(start)}: "))
        for image_id, (reason, message) in failures.items()
    ]
    _write_csv(into / FAILURES, ("image", "reason", "message"), failed)
    order = np.lexsort((np.array(names), found.group % (len(sizes) + 1)))  # -1, apart, last
    rows = [_describe(found, settings, folders, names, row) for row in order.tolist()]
    _write_csv(into / TABLE, COLUMNS, rows)  # the last: where it is, all is
    grouped = int((found.group != ALONE).sum())
    return Discovered(len(sizes), grouped, len(names) - grouped, len(failed))


def _list_links(
    found: Groups, folders: Sequence[str], ids: Sequence[str], names: Sequence[str], photos: Path
) -> dict[str, dict[str, Path]]:
    """Return the photo behind each file of each folder."""
    links: dict[str, dict[str, Path]] = {folder: {} for folder in folders}
    for row in np.flatnonzero(found.group != ALONE).tolist():
        photo = photos / names[row]
        links[folders[found.group[row]]][f"{ids[row]}{photo.suffix.lower()}"] = photo
    return links


def _describe(
    found: Groups,
    settings: GroupingSettings,
    folders: Sequence[str],
    names: Sequence[str],
    row: int,
) -> tuple[str, str, str, int | str, str]:
    """Return a photo's row of groups.csv."""
    if found.group[row] == ALONE:
        return names[row], "", "", "", ""
    folder, other, inliers = folders[found.group[row]], names[found.joined_to[row]], found.inliers
    if inliers[row] < 0:
        return names[row], folder, "near-duplicate", "", other
    by = "verified" if inliers[row] >= settings.min_inliers else "neighbours"
    return names[row], folder, by, int(inliers[row]), other


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table, whole or not at all; one without rows goes."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
