"""Divide the landmarks of a dataset: some to train on, the others known by a few photos alone.

Adding a landmark takes a few photos and no training: this makes the dataset that shows what it is
worth. Reads the tables of a dataset folder and writes those of another one, which shares its
images. Opens no image.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import read_rows, write_derived
from pipelines.datasets.selection.order import order_keys, rank_within
from pipelines.datasets.selection.tables import find_unknown, read_images

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Cut = Literal["random", "label"]


def split_landmarks(
    source: Dataset,
    folder: Path,
    *,
    share: float = 0.5,
    photos: int = 10,
    seed: int = 0,
    cut: Cut = "random",
) -> Path:
    """Write a dataset folder whose database holds none of the landmarks that are trained on.

    train has all photos of the landmarks that are drawn, index some photos of each other one, and
    what is asked are the source's test photos of these and its distractors. An index table of the
    source is not used.

    Args:
        source: the dataset, with a test set and its solution. It stays as it is.
        folder: the folder to write: new, or one made so before.
        share: of the landmarks that are trained on; the number is rounded down.
        photos: of each other landmark that the database gets; all where there are fewer.
        seed: decides which; the same on every machine, whatever the order of the rows.
        cut: "random" draws the landmarks to train on; "label" takes those of the lowest ids. Where
            ids follow names, look-alikes then stand on one side, as they do when a shelf, a city or
            a collection is added to what is known.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: the source has no test set, or no solution.
        FileExistsError: the folder holds another dataset, or one of other arguments.
        ValueError: fewer than two landmarks to train on, none left, or photos below 1.
    """
    train, test, solution = (_find(source, name) for name in ("train", "test", "solution"))
    rows = read_images(train)
    landmark_ids = rows["landmark_id"].to_numpy()
    trained = _choose_landmarks(np.unique(landmark_ids), share, seed, cut)
    shown = np.isin(landmark_ids, trained)
    known = _draw_photos(rows.filter(pa.array(~shown)), photos, seed)
    asked = read_rows(solution)
    asked = asked.filter(pa.array(~find_unknown(asked, known["landmark_id"].to_numpy())))
    queries = read_rows(test)
    tables = {
        "train": rows.filter(pa.array(shown)),
        "validation": _keep_landmarks(source.find_table("validation"), trained),
        "index": known,
        "test": queries.filter(pc.is_in(queries["id"], value_set=asked["id"].combine_chunks())),
        "solution": asked,
    }
    made_of = {"landmarks divided of": str(source.folder.resolve())}
    write_derived(
        source,
        folder,
        tables,
        {**made_of, "share": share, "photos": photos, "seed": seed, "cut": cut},
    )
    return folder


def _find(source: Dataset, name: str) -> Path:
    path = source.find_table(name)
    if path is None:
        raise FileNotFoundError(
            f"{source.folder} has no {name}.csv, and nothing can be measured without; name a "
            "dataset with train, test and solution"
        )
    return path


def _choose_landmarks(landmark_ids: Ints, share: float, seed: int, cut: Cut) -> Ints:
    """Return the landmarks of these ids, which ascend, that are trained on, ascending."""
    count, total = int(share * len(landmark_ids)), len(landmark_ids)
    if not 2 <= count < total:
        raise ValueError(
            f"share {share:g} of {total} landmarks trains on {count}; training takes two and more, "
            "and one must be left: name another share, or more landmarks"
        )
    if cut == "label":
        return landmark_ids[:count]
    keys = order_keys(pa.chunked_array([pa.array(landmark_ids).cast(pa.string())]), seed)
    return np.sort(landmark_ids[np.argsort(keys, kind="stable")[:count]])


def _draw_photos(rows: pa.Table, photos: int, seed: int) -> pa.Table:
    """Return so many rows of each landmark; say which have fewer."""
    if photos < 1:
        raise ValueError(f"photos is {photos}; a landmark is known by one at least")
    landmark_ids = rows["landmark_id"].to_numpy()
    found, counts = np.unique(landmark_ids, return_counts=True)
    few = [
        f"{label} ({count})" for label, count in zip(found, counts, strict=True) if count < photos
    ]
    if few:
        logger.warning(
            "%d of %d landmarks have fewer than %d photos, and all of these are taken: %s",
            *(len(few), len(found), photos, ", ".join(few)),
        )
    ranks = rank_within(landmark_ids, order_keys(rows["id"], seed))
    return rows.filter(pa.array(ranks < photos))


def _keep_landmarks(path: Path | None, landmark_ids: Ints) -> pa.Table | None:
    """Return the rows of a table that show one of the landmarks; None without any."""
    if path is None:
        return None
    rows = read_images(path)
    kept = rows.filter(pc.is_in(rows["landmark_id"], value_set=pa.array(landmark_ids)))
    return kept if kept.num_rows else None


def hold_out_landmarks(source: Dataset, folder: Path, *, share: float = 0.2, seed: int = 0) -> Path:
    """Write a dataset folder that knows nothing of some landmarks, but is asked about them.

    Their rows are left out of train, validation and index, and their names out of the solution:
    test photos of them are distractors like any other.

    Args:
        source: the dataset, with a test set and its solution. It stays as it is.
        folder: the folder to write: new, or one made so before.
        share: of the landmarks that are held out; the number is rounded down, and 2 at least.
        seed: decides which; the same on every machine, whatever the order of the rows.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: the source has no train table, or no solution.
        FileExistsError: the folder holds another dataset, or one of other arguments.
        ValueError: fewer than two landmarks are left.
    """
    train, solution = (_find(source, name) for name in ("train", "solution"))
    landmark_ids = np.unique(read_images(train)["landmark_id"].to_numpy())
    drawn = max(int(share * len(landmark_ids)), 2)
    known = np.setdiff1d(
        landmark_ids,
        _choose_landmarks(landmark_ids, drawn / len(landmark_ids) + 1e-9, seed, "random"),
    )
    tables: dict[str, pa.Table | None] = {
        name: _keep_landmarks(source.find_table(name), known)
        for name in ("train", "validation", "index")
    }
    asked, column = read_rows(solution), "landmarks"
    names = set(map(str, known.tolist()))
    left = [
        " ".join(name for name in (truth or "").split() if name in names)
        for truth in asked[column].to_pylist()
    ]
    place = asked.column_names.index(column)
    tables["solution"] = asked.set_column(place, column, pa.array(left, pa.string()))
    made_of = {"landmarks held out of": str(source.folder.resolve()), "share": share, "seed": seed}
    write_derived(source, folder, tables, made_of)
    return folder
