"""Make a dataset of revisited Oxford or Paris: the database, cropped queries, the ground truth.

Reads a published ground truth and the folder of photos that belongs to it. Writes images/ (the
database as links, queries as crops) and the tables index, test, labels, ground_truth and train.

What the photos are called (all_souls_000013) names the tag that they were found by, not what they
show. So it only names answers: figures come from the ground truth alone, and train says of all
photos the same, so that nothing can be trained on what is to be measured.
"""

import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from embed.crop import fit_box
from embed.errors import InputError, MissingFileError
from embed.files import writing
from pipelines.artifacts import hash_file
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import write_rows
from pipelines.datasets.images import SUFFIXES as IMAGE_SUFFIXES
from pipelines.datasets.images import list_images
from pipelines.datasets.linking import link_image
from pipelines.datasets.naming import is_text, make_id
from pipelines.datasets.origin import claim
from pipelines.datasets.renewal import Renewal, renewing
from pipelines.progress import progress_bar
from pipelines.sources.class_folders import name_some
from pipelines.sources.table_import.images import FLAT_LIMIT, ImageLayout
from pipelines.sources.table_import.rows import ids_of_files

from .truth import NAME, GroundTruth, Query, read_published, save_truth

logger = logging.getLogger(__name__)

UNLABELLED = "not labelled"  # what train says of every photo
DISTRACTOR = "distractor"


@dataclass(frozen=True)
class _Photos:
    """Images to be linked, and what they are called in the dataset."""

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    names: tuple[str, ...]  # of what the file name says they show


def import_revisited(
    published: Path,
    photos: Path,
    folder: Path,
    *,
    distractors: Path | None = None,
    training: Path | None = None,
) -> dict[str, int]:
    """Write a dataset folder of a published ground truth and its photos; return counts.

    Queries are cropped to their boxes, as the protocol asks, and kept without loss as PNG.

    Args:
        published: gnd_roxford5k.pkl, gnd_rparis6k.pkl or one like them.
        photos: holds the photos, in it or in folders below; more of them do no harm.
        folder: the dataset folder to write.
        distractors: images in and below it are searched, too: those of R1M.
        training: a dataset whose train table is taken over as it is, without its images: for a run
            whose model was trained on it.

    Raises:
        MissingFileError: a file or folder is not there, or one of the photos: without it figures
            would compare with no others.
        InputError: the dataset folder holds another dataset.
        InputError: the ground truth is not as published, a query cannot be read or lies outside its
            photo, or two images have the same id.
    """
    truth = read_published(published)
    files = _list_files(photos, [*truth.images, *(query.image for query in truth.queries)])
    database = _find_photos(truth, files)
    queries = [_find_file(query.image, files) for query in truth.queries]
    query_ids = _name_queries(truth, {*database.ids})
    others = _list_distractors(distractors, {*database.ids, *query_ids})
    origin = {"ground truth": published.name, "sha256": hash_file(published)}
    claim(folder, {"revisited": origin})
    flat = ImageLayout(folder / "images", nested=False)
    with renewing(folder, ("index", "test", "labels", "train", NAME)) as renewal:
        _link(database, flat, renewal)
        _link(others, ImageLayout(flat.path, nested=len(others.ids) > FLAT_LIMIT), renewal)
        for query_id, query, path in zip(query_ids, truth.queries, queries, strict=True):
            _write_crop(query, path, renewal.place_image(flat.place(query_id, ".png")))
        save_truth(truth, database.ids, query_ids, renewal.waiting / f"{NAME}.parquet")
        _write_tables(database, others, query_ids, renewal.waiting, training)
    return {
        "queries": len(query_ids),
        "images": len(database.ids),
        "distractors": len(others.ids),
    }


def _find_photos(truth: GroundTruth, files: Mapping[str, list[Path]]) -> _Photos:
    """Return the database. Raises InputError if two images of it have one id."""
    ids = tuple(ids_of_files(pa.array(truth.images)).to_pylist())
    _refuse_repeated(ids, "imlist names its file by two suffixes")
    paths = [_find_file(name, files) for name in truth.images]
    names = tuple(re.sub(r"[-_ ]*\d*$", "", image_id) or image_id for image_id in ids)
    return _Photos(ids, tuple(paths), names)


def _list_files(folder: Path, wanted: Iterable[str]) -> dict[str, list[Path]]:
    """Return the files of images in a folder and below it, by name without suffix.

    Raises MissingFileError if one that is wanted is missing.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no folder of photos at {folder}")
    files: dict[str, list[Path]] = {}
    for path in list_images([folder]):
        files.setdefault(path.stem, []).append(path)
    names = [_cut_suffix(name) for name in wanted]
    missing = [name for name in names if name not in files]
    if missing:
        raise MissingFileError(
            f"{len(missing)} of {len(names)} images are not in {folder}, the first is "
            f"'{missing[0]}'; unpack the whole archive of photos there"
        )
    return files


def _find_file(name: str, files: Mapping[str, list[Path]]) -> Path:
    path, *others = files[_cut_suffix(name)]
    if others:
        raise InputError(f"'{name}' may be {path} or {others[0]}; keep one of them there")
    return path


def _cut_suffix(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _name_queries(truth: GroundTruth, taken: set[str]) -> list[str]:
    """Return ids that no other image has: a database may hold the photo, a photo two queries."""
    ids = []
    for name in ids_of_files(pa.array([query.image for query in truth.queries])).to_pylist():
        while name in taken:
            name = f"{name}-query"
        taken.add(name)
        ids.append(name)
    return ids


def _list_distractors(folder: Path | None, taken: set[str]) -> _Photos:
    """Return all images in and below a folder, named by their paths."""
    if folder is None:
        return _Photos((), (), ())
    if not folder.is_dir():
        raise MissingFileError(f"no folder of distractors at {folder}")
    listed = [(path, path.relative_to(folder).as_posix()) for path in list_images([folder])]
    if bad := [name for _, name in listed if not is_text(name)]:
        logger.warning(
            "left out %d distractors whose names are no UTF-8 (rename them): %s",
            *(len(bad), name_some(bad)),
        )
    paths = tuple(path for path, name in listed if is_text(name))
    files = pa.array([name for _, name in listed if is_text(name)], pa.string())
    ids = tuple(map(make_id, ids_of_files(files).to_pylist()))
    _refuse_repeated((*taken, *ids), f"distractors are named by their paths in {folder}")
    return _Photos(ids, paths, (DISTRACTOR,) * len(ids))


def _refuse_repeated(ids: Sequence[str], why: str) -> None:
    if len(set(ids)) < len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        raise InputError(f"two images would be called '{repeated}': {why}; rename one")


def _link(photos: _Photos, images: ImageLayout, renewal: Renewal) -> None:
    with progress_bar("link images", len(photos.ids)) as advance:
        for image_id, path in zip(photos.ids, photos.paths, strict=True):
            link_image(path, images.place(image_id, path.suffix.lower()), renewal)
            advance(1)


def _write_crop(query: Query, path: Path, target: Path) -> None:
    """Write the part of a photo that is queries about."""
    try:
        with Image.open(path) as image:
            # The box is of the pixels as they are stored; the photo is turned upright after.
            crop = ImageOps.exif_transpose(
                image.convert("RGB").crop(fit_box(query.box, image.size))
            )
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"query '{query.image}' cannot be cropped from {path}: {error}") from error
    crop.info.clear()  # no EXIF: it would be turned again
    with writing(target) as temporary:
        crop.save(temporary)


def _write_tables(
    database: _Photos, others: _Photos, query_ids: list[str], folder: Path, training: Path | None
) -> None:
    """Write index, test, labels and train."""
    source = None if training is None else Dataset(training)
    start = 0
    if source is not None:
        trained = source.load_split("train").landmark_ids
        start = max(int(trained.max()), max(source.names, default=0)) + 1
    shown = [*database.names, *others.names]
    names, places = np.unique(np.array(shown), return_inverse=True)
    labels = {start + place: str(name) for place, name in enumerate(names)}
    index = pa.table({"id": [*database.ids, *others.ids], "landmark_id": places + start})
    write_rows(index, folder / "index")
    write_rows(pa.table({"id": query_ids}), folder / "test")
    if source is None:
        labels[len(labels)] = UNLABELLED
        nobody_knows = np.full(len(database.ids), len(labels) - 1)
        train = pa.table({"id": list(database.ids), "landmark_id": nobody_knows})
        _write_labels(labels, folder)
        write_rows(train, folder / "train")
        return
    # Without names of those trained on, the others can have none: names are of all or of none.
    _write_labels({**source.names, **labels} if source.names else {}, folder)
    path = source.require_table("train")
    with writing(folder / path.name) as temporary:
        shutil.copyfile(path, temporary)  # byte for byte: a model knows its table by the hash


def _write_labels(labels: dict[int, str], folder: Path) -> None:
    columns = {"landmark_id": pa.array(labels, pa.int64()), "name": pa.array(labels.values())}
    write_rows(pa.table(columns) if labels else None, folder / "labels")
