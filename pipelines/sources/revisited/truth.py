"""The ground truth of revisited Oxford and Paris: read a published file, keep it as a safe one.

Reads gnd_roxford5k.pkl, gnd_rparis6k.pkl and what is built like them, as plain values: nothing in
them is run. Reads and writes ground_truth.parquet of a dataset folder, a row a query: query_id,
image (its name in the published file), box, and the ids of the images that are easy, hard and junk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.errors import InputError, MissingFileError
from embed.files import writing
from index.revisited import LEVELS, Relevance

from .plain_pickle import PickledArray, read_plain_pickle

NAME = "ground_truth"
MAX_BYTES = 64 << 20  # the published files have less than a hundredth
Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels of the stored image


@dataclass(frozen=True)
class Query:
    """A query: a part of an image, and what shows the same."""

    image: str  # name of the file, without suffix
    box: Box
    relevance: Relevance  # by place in the images of the ground truth

    def __post_init__(self) -> None:
        """Raise InputError for a box without area."""
        left, top, right, bottom = self.box
        if not (np.isfinite(self.box).all() and left < right and top < bottom):
            raise InputError(f"the box {self.box} is not left, top, right, bottom in pixels")


@dataclass(frozen=True)
class GroundTruth:
    """N database images and Q queries."""

    images: tuple[str, ...]  # [N] names of files, without suffix
    queries: tuple[Query, ...]  # [Q]

    def __post_init__(self) -> None:
        """Raise InputError for no images or queries, a repeated image, or a place beyond N."""
        if not self.images or not self.queries:
            raise InputError(f"{len(self.images)} images and {len(self.queries)} queries")
        if len(set(self.images)) < len(self.images):
            raise InputError("imlist names an image twice")
        for place, query in enumerate(self.queries):
            found = query.relevance.gather(LEVELS)
            if len(found) and not 0 <= found.min() <= found.max() < len(self.images):
                raise InputError(
                    f"gnd[{place}] names the images {found.min()} to {found.max()}, but imlist has "
                    f"0 to {len(self.images) - 1}"
                )


def read_published(path: Path) -> GroundTruth:
    """Read a published ground truth: a pickle of imlist, qimlist and gnd, of any Python.

    Raises:
        MissingFileError: no file there.
        InputError: it is too large, no pickle of plain values, or not built as published.
    """
    if not path.is_file():
        raise MissingFileError(f"no ground truth at {path}; name gnd_roxford5k.pkl or its like")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}")
    try:
        return _make_truth(read_plain_pickle(path.read_bytes()))
    except ValueError as error:
        raise InputError(
            f"{path} is no ground truth of revisited Oxford or Paris: {error}; name a file like "
            "gnd_roxford5k.pkl, with imlist, qimlist and gnd: easy, hard, junk, bbx"
        ) from error


def _make_truth(values: Any) -> GroundTruth:
    """Turn what the file holds into a record."""
    if not isinstance(values, dict):
        raise InputError(f"it holds a {type(values).__name__}, not a dict")
    missing = [key for key in ("imlist", "qimlist", "gnd") if key not in values]
    if missing:
        raise InputError(f"it has no {missing[0]}, only {', '.join(map(str, values))[:200]}")
    names, truths = _read_names(values, "qimlist"), _as_list(values["gnd"], "gnd")
    if len(names) != len(truths):
        raise InputError(f"qimlist names {len(names)} queries, gnd {len(truths)}")
    queries = []
    for place, (name, truth) in enumerate(zip(names, truths, strict=True)):
        try:
            queries.append(_make_query(name, truth))
        except ValueError as error:
            raise InputError(f"gnd[{place}]: {error}") from error
    return GroundTruth(_read_names(values, "imlist"), tuple(queries))


def _make_query(name: str, truth: Any) -> Query:
    if not isinstance(truth, dict):
        raise InputError(f"it is a {type(truth).__name__}, not a dict")
    missing = [key for key in (*LEVELS, "bbx") if key not in truth]
    if missing:
        older = "; this is the protocol before the revision" if "ok" in truth else ""
        raise InputError(f"it has no {missing[0]}, only {', '.join(map(str, truth))[:200]}{older}")
    box = _as_numbers(truth["bbx"], "bbx").astype(np.float64).tolist()
    if len(box) != 4:
        raise InputError(f"bbx has {len(box)} numbers, not left, top, right, bottom")
    return Query(name, tuple(box), Relevance(*(_read_places(truth, level) for level in LEVELS)))


def _read_places(truth: dict[str, Any], level: str) -> NDArray[np.int64]:
    values = _as_numbers(truth[level], level)
    if not len(values):
        return np.empty(0, dtype=np.int64)
    if not (values == np.floor(values)).all():
        raise InputError(f"{level} holds {values[values != np.floor(values)][0]}, no whole number")
    return values.astype(np.int64)


def _read_names(values: dict[str, Any], key: str) -> tuple[str, ...]:
    names = _as_list(values[key], key)
    wrong = next((name for name in names if not isinstance(name, str) or not name), None)
    if wrong is not None:
        raise InputError(f"{key} holds a {type(wrong).__name__}, not the name of an image")
    return tuple(names)


def _as_list(value: Any, key: str) -> list[Any]:
    if isinstance(value, PickledArray):
        return list(value.values.ravel().tolist())
    if not isinstance(value, list | tuple):
        raise InputError(f"{key} is a {type(value).__name__}, not a list")
    return list(value)


def _as_numbers(value: Any, key: str) -> NDArray[Any]:
    """Return a list or array of numbers, [n]; of nested ones all numbers in one."""
    items = _as_list(value, key)
    wrong = next((x for x in items if isinstance(x, bool) or not isinstance(x, int | float)), None)
    if wrong is not None or any(abs(x) > 2**53 for x in items):
        raise InputError(f"{key} holds a {type(wrong).__name__}, not numbers of a usual size")
    return np.array(items)


def save_truth(
    truth: GroundTruth, ids: Sequence[str], query_ids: Sequence[str], path: Path
) -> None:
    """Write ground_truth.parquet.

    Args:
        truth: N images and Q queries.
        ids: [N] what the images are called in the dataset.
        query_ids: [Q].
        path: the file to write.
    """
    columns: dict[str, Any] = {
        "query_id": pa.array(query_ids, pa.string()),
        "image": pa.array([query.image for query in truth.queries], pa.string()),
        "box": pa.array([query.box for query in truth.queries], pa.list_(pa.float64(), 4)),
    }
    for level in LEVELS:
        places = (getattr(query.relevance, level) for query in truth.queries)
        named = [[ids[place] for place in found] for found in places]
        columns[level] = pa.array(named, pa.list_(pa.string()))
    with writing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def load_truth(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read ground_truth.parquet: the ids of images by level, by query id.

    Raises:
        InputError: the file is not what save_truth writes.
    """
    try:
        rows = pq.read_table(path, columns=["query_id", *LEVELS]).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is damaged ({error}); make the dataset anew") from error
    return {row["query_id"]: {level: row[level] for level in LEVELS} for row in rows}
