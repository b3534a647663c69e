"""Make a dataset folder of a mirror of GLDv2, or of the part of it that is there.

Reads the mirror's tables and the headers of its tars. Writes images/ (links to the mirror, and
tars.parquet), missing.parquet (what is left out, and why), hierarchy.parquet and the tables of a
dataset. Opens no image.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embed.errors import InputError, MissingFileError
from embed.files import writing
from pipelines.datasets.derive import share_images, write_rows
from pipelines.datasets.origin import claim
from pipelines.datasets.renewal import renewing
from pipelines.datasets.tars.build import build_tar_index
from pipelines.datasets.tars.index import INDEX_NAME, TarIndex

from .catalog import SPLITS, TASK_SPLITS, Subset, Task
from .contents import Contents, read_contents
from .mirror_tables import IGNORED
from .unpacked import is_unpacked, link_unpacked, list_unpacked

logger = logging.getLogger(__name__)

WRITTEN = (
    *("train", "index", "test", "solution", "labels"),
    *("hierarchy.parquet", "index_landmarks.parquet", "missing.parquet"),
)
NO_FILE, NO_LANDMARK = "no file in the mirror", "the index gives it no landmark"


def claim_folder(folder: Path, task: Task, subset: Subset) -> None:
    """Mark a dataset folder as this part of GLDv2.

    Raises:
        InputError: it holds another dataset, or another part of GLDv2.
    """
    claim(folder, {"GLDv2": {"task": task, "subset": subset}})


def import_gldv2(
    mirror: Path, folder: Path, *, task: Task = "recognition", subset: Subset = "clean"
) -> dict[str, int]:
    """Write a dataset folder; return how many images each split got, and how many are missing.

    Images are read where they are: in the tars of the mirror's folders train, index and test, or
    below these (or in the mirror itself) unpacked as a/b/c/<id>.jpg. What the tables name and is
    in neither goes to missing.parquet. The index gets landmark_ids that fit those of the training
    set (names.match_landmarks); index_landmarks.parquet has both.

    Args:
        mirror: the folder with GLDv2's files, as `fetch` writes it; it may be folder/images.
        folder: the dataset folder: new, or one of the same task and subset, made anew.
        task: recognition searches the training images, retrieval those of the index.
        subset: the training images of train_clean.csv, or all.

    Raises:
        MissingFileError: a table is not there, or no image of train or index is.
        InputError: the folder holds another dataset.
        InputError: a table is not what it should be, or folder is the mirror.
    """
    if mirror.resolve() == folder.resolve():
        raise InputError(f"{folder} holds GLDv2's own files; name another folder: --data")
    contents = read_contents(mirror, task, subset)
    claim_folder(folder, task, subset)
    images = folder / "images"
    _share_splits(mirror, images, task)
    build_tar_index(images)
    there = _find_images(contents.splits, mirror, images)
    found = {name: table.filter(there[name]) for name, table in contents.splits.items()}
    for name, table in found.items():
        _check_found(name, len(table), len(contents.splits[name]), mirror)
    missing = _list_missing(contents, there)
    with renewing(folder, WRITTEN) as renewal:
        _write_dataset(contents, found, missing, renewal.waiting)
    _log_use(found, contents.solution)
    return {**{name: len(table) for name, table in found.items()}, "missing": len(missing)}


def _share_splits(mirror: Path, images: Path, task: Task) -> None:
    images.mkdir(parents=True, exist_ok=True)
    if mirror.resolve() == images.resolve():
        return
    for split in TASK_SPLITS[task]:
        if (mirror / split).is_dir():
            share_images(mirror / split, images / split)


def _find_images(
    splits: Mapping[str, pa.Table], mirror: Path, images: Path
) -> dict[str, pa.ChunkedArray]:
    """Return which images of each split are in a tar or unpacked; link the unpacked ones."""
    in_tars = pa.array([], pa.string())
    if (images / INDEX_NAME).is_file():
        in_tars = TarIndex.load(images / INDEX_NAME).ids
    there = {name: pc.is_in(table["id"], value_set=in_tars) for name, table in splits.items()}
    for root in (mirror, *(mirror / split for split in SPLITS)):
        if not is_unpacked(root):
            continue
        ids = pa.array(list_unpacked(root), pa.string())
        for name, table in splits.items():
            here = pc.and_not(pc.is_in(table["id"], value_set=ids), there[name])
            link_unpacked(root, images, table["id"].filter(here).to_pylist())
            there[name] = pc.or_(there[name], here)
    return there


def _check_found(split: str, found: int, wanted: int, mirror: Path) -> None:
    """Log how much of a split is there. Raises MissingFileError if it is nothing, but of test."""
    logger.info("%s: %d of %d images are there", split, found, wanted)
    if not found and split != "test":
        raise MissingFileError(
            f"none of the {wanted} images of {split} is in {mirror}: neither "
            f"{split}/images_000.tar and so on, nor unpacked, {split}/a/b/c/<id>.jpg; fetch some: "
            "--fetch --tars 0-9, or name the folder that has them: --from FOLDER"
        )


def _list_missing(contents: Contents, there: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """Return id, split, reason of what the tables name and the dataset does not have."""
    gone = {name: t["id"].filter(pc.invert(there[name])) for name, t in contents.splits.items()}
    parts = [(name, ids, NO_FILE) for name, ids in gone.items()]
    parts.append(("index", contents.unlabelled, NO_LANDMARK))
    return pa.concat_tables(
        pa.table(
            {
                "id": ids,
                "split": pa.repeat(pa.scalar(split), len(ids)),
                "reason": pa.repeat(pa.scalar(reason), len(ids)),
            }
        )
        for split, ids, reason in parts
    )


def _write_dataset(
    contents: Contents, found: Mapping[str, pa.Table], missing: pa.Table, folder: Path
) -> None:
    """Write all tables."""
    test = found["test"] if len(found["test"]) else None
    write_rows(test, folder / "test")
    write_rows(_solve(contents.solution, test), folder / "solution")
    write_rows(contents.labels, folder / "labels")
    _write_parquet(contents.hierarchy, folder / "hierarchy.parquet")
    _write_parquet(contents.index_landmarks, folder / "index_landmarks.parquet")
    _write_parquet(missing, folder / "missing.parquet")
    write_rows(found.get("index"), folder / "index")
    write_rows(found["train"], folder / "train")


def _write_parquet(table: pa.Table | None, path: Path) -> None:
    if table is not None:
        with writing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")


def _solve(solution: pa.Table | None, test: pa.Table | None) -> pa.Table | None:
    """Return the solution's row of each query; a query that it lacks is ignored."""
    if solution is None or test is None:
        return None
    rows = pc.index_in(test["id"], value_set=solution["id"])
    return pa.table(
        {
            "id": test["id"],
            "landmarks": pc.fill_null(solution["landmarks"].take(rows), ""),
            "Usage": pc.fill_null(solution["Usage"].take(rows), IGNORED),
        }
    )


def _log_use(found: Mapping[str, pa.Table], solution: pa.Table | None) -> None:
    """Log what a part of the dataset is good for."""
    counts = np.unique(np.asarray(found["train"]["landmark_id"]), return_counts=True)[1]
    logger.info(
        "train: %d landmarks, %d of them with the two images that training needs",
        *(len(counts), (counts > 1).sum()),
    )
    solved = _solve(solution, found["test"])
    if solved is None:
        return
    queries = solved.filter(pc.not_equal(solved["Usage"], IGNORED))
    shown = queries.filter(pc.not_equal(queries["landmarks"], ""))["landmarks"].combine_chunks()
    labels = pc.split_pattern(shown, " ")  # mostly one
    database = found.get("index", found["train"])["landmark_id"].unique().cast(pa.string())
    known = pc.is_in(pc.list_flatten(labels), value_set=database)
    logger.info(
        "test: %d queries, %d of them with a landmark, %d with one that is searched",
        *(len(queries), len(shown), len(pc.list_parent_indices(labels).filter(known).unique())),
    )
