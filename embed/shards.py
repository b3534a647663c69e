"""The file format of global descriptors: Parquet shards of id, vectors and head scores.

Reads part-*.parquet (see embed.parts), which know no label and no order; reads and writes what
does, images.parquet, and failures.parquet.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .columns import find_places, read_parquet, to_array, to_column, to_texts
from .errors import InputError, MissingFileError
from .failure import Failure
from .head_scores import HeadScores
from .mapped import store_blocks
from .parts import join_rows

HEAD_COLUMNS = {"head_label": "labels", "head_score": "scores", "head_probability": "probabilities"}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Global descriptors of images that could be read, in the order of their table."""

    ids: tuple[str, ...]  # [N]
    landmark_ids: NDArray[np.int64]  # [N]; -1 where unknown
    vectors: NDArray[np.float32]  # [N, dim], rows of length 1
    head: HeadScores  # what the classification head says of the N images
    regions: NDArray[np.float32] | None = None  # [N, R, dim], rows of length 1; None for none

    def __post_init__(self) -> None:
        """Raise ValueError unless there are one id, one label and scores a vector."""
        counts = (len(self.ids), len(self.landmark_ids), len(self.vectors), len(self.head))
        if len(set(counts)) > 1:
            raise ValueError(
                "{} ids, {} labels, {} vectors and head scores of {} images".format(*counts)
            )
        count, dim = self.vectors.shape
        if self.regions is not None and self.regions.shape[::2] != (count, dim):
            raise ValueError(
                f"regions have shape {self.regions.shape}, expected [{count}, R, {dim}]"
            )

    @property
    def all_vectors(self) -> NDArray[np.float32]:
        """Return [N, 1 + R, dim]: of each image, then of its regions."""
        whole = self.vectors[:, None]
        return whole if self.regions is None else np.concatenate([whole, self.regions], axis=1)

    def take(self, rows: Any) -> Self:
        """Return the embeddings of some images: a slice, or an index array."""
        places = np.arange(len(self.ids))[rows]
        return type(self)(
            tuple(self.ids[place] for place in places),
            self.landmark_ids[places],
            self.vectors[places],
            self.head.take(places),
            None if self.regions is None else self.regions[places],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the embeddings of all parts, one after the other, all with regions or none."""
        regions = [part.regions for part in parts if part.regions is not None]
        return cls(
            tuple(image_id for part in parts for image_id in part.ids),
            np.concatenate([part.landmark_ids for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            HeadScores.concatenate([part.head for part in parts]),
            np.concatenate(regions) if regions else None,
        )


def make_rows(
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    head: HeadScores,
    dtype: str,
    regions: NDArray[np.float32] | None = None,
) -> pa.Table:
    """Return the rows of a shard.

    Args:
        ids: [N] images.
        vectors: [N, dim] their descriptors.
        head: what the classification head says of them.
        dtype: float16 or float32, of the stored descriptors.
        regions: [N, R, dim] the descriptors of their regions; None for none.
    """
    columns = HEAD_COLUMNS.items() if head.labels.shape[1] else ()
    flat = None if regions is None else regions.reshape(len(regions), math.prod(regions.shape[1:]))
    return pa.table(
        {
            "image_id": pa.array(ids, pa.string()),
            "embedding": _to_lists(vectors.astype(dtype)),
            **({} if flat is None else {"regions": _to_lists(flat.astype(dtype))}),
            **{name: _to_lists(getattr(head, of)) for name, of in columns},
        }
    )


def _to_lists(values: NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _from_lists(column: pa.ChunkedArray) -> NDArray[Any]:
    lists = column.combine_chunks()
    return to_array(lists.flatten()).reshape(-1, lists.type.list_size)


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of images that could be read, in the order of their table, without the rest."""

    ids: pa.ChunkedArray  # [N] texts
    landmark_ids: NDArray[np.int64]  # [N]; -1 where unknown
    vectors: NDArray[np.float32]  # [N, 1 + R, dim], as Embeddings.all_vectors


def read_embeddings(
    paths: Sequence[Path], images: Path, among: Sequence[str] | None = None
) -> Embeddings:
    """Read shards as float32, in the order and with the labels of a table.

    Args:
        paths: of the shards; that they are intact the caller knows.
        images: images.parquet, which names all images of the shards.
        among: the only images that are read; None for all.

    Raises:
        MissingFileError: a file is missing, or no shards are given.
        InputError: a file is no shard.
    """
    with _reading(paths):
        tables = [_take(read_parquet(path), among) for path in paths]
        table, listed = join_rows(tables), _take(read_parquet(images), among)
        vectors = _to_vectors(table)
        head = HeadScores.none(len(table))
        if set(HEAD_COLUMNS) <= set(table.column_names):
            head = HeadScores(**{of: _from_lists(table[name]) for name, of in HEAD_COLUMNS.items()})
        order, present = _order(table["image_id"], listed, images)
    if (order[1:] < order[:-1]).any():  # a copy, which most need not pay for
        vectors, head = vectors[order], head.take(order)
    ids = listed["image_id"].take(to_column(present)).to_pylist()
    labels = to_array(listed["landmark_id"]).astype(np.int64)[present]
    regions = vectors[:, 1:] if vectors.shape[1] > 1 else None
    return Embeddings(tuple(ids), labels, vectors[:, 0], head, regions)


def map_vectors(paths: Sequence[Path], images: Path, folder: Path) -> Vectors:
    """Read the vectors of shards, one after the other, into a file that is mapped.

    Args:
        paths: of the shards; that they are intact the caller knows.
        images: images.parquet, which names all images of the shards.
        folder: of the file, which has no name, see embed.mapped.

    Raises:
        MissingFileError: a file is missing, or no shards are given.
        InputError: a file is no shard.
    """
    with _reading(paths):
        ids = [_read_column(path, "image_id") for path in paths]
        listed = read_parquet(images)
        order, present = _order(pa.chunked_array(ids), listed, images)
        rows = np.empty(len(order), dtype=np.int64)
        rows[order] = np.arange(len(order))
        starts = np.cumsum([0, *map(len, ids)])
        first = next((n for n, each in enumerate(ids) if len(each)), 0)
        shape = _to_vectors(read_parquet(paths[first]).slice(0, 1)).shape[1:]

        def read() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            for path, start, stop in zip(paths, starts[:-1], starts[1:], strict=True):
                if start < stop:
                    vectors = _to_vectors(read_parquet(path))
                    if vectors.shape[1:] != shape:
                        raise pa.ArrowInvalid(f"{path} has vectors {vectors.shape[1:]}")
                    yield rows[start:stop], vectors

        stored = store_blocks(read(), (len(order), *shape), np.float32, folder)
    labels = to_array(listed["landmark_id"]).astype(np.int64)[present]
    return Vectors(listed["image_id"].take(to_column(present)), labels, stored)


@contextlib.contextmanager
def _reading(paths: Sequence[Path]) -> Iterator[None]:
    """Raise what reading of shards raises as errors that say what to do."""
    if not paths:
        raise MissingFileError("there are no embeddings to read; run `cairn embed` first")
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{error}; run `cairn embed`") from error
    except (OSError, pa.ArrowInvalid, KeyError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not the file
            raise
        raise InputError(
            f"{paths[0].parent} holds a file that is no embedding shard ({error}); "
            "run `cairn embed --redo`"
        ) from error


def _to_vectors(table: pa.Table) -> NDArray[np.float32]:
    """Return [N, 1 + R, dim] the vectors of the rows of a shard."""
    columns = ["embedding", "regions"] if "regions" in table.column_names else ["embedding"]
    parts = [_from_lists(table[name]) for name in columns]
    dim = parts[0].shape[1]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return flat.astype(np.float32).reshape(len(table), flat.shape[1] // dim, dim)


def _read_column(path: Path, name: str) -> pa.Array:
    with pq.ParquetFile(path) as file:
        return file.read([name])[name].combine_chunks()


def _take(table: pa.Table, among: Sequence[str] | None) -> pa.Table:
    """Return the rows of some images; all where None."""
    if among is None:
        return table
    known = to_texts(among).cast(table["image_id"].type)
    return table.filter(pc.is_in(table["image_id"], value_set=known))


def _order(
    ids: pa.ChunkedArray, listed: pa.Table, images: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where in shards the N images are that they hold, and [N] where in the table."""
    places = find_places(listed["image_id"], ids)
    present = np.flatnonzero(places >= 0)
    order = places[present]
    if len(order) != len(ids):
        raise ValueError(f"{images} names {len(order)} of the {len(ids)} images of the shards")
    return order, present


def write_images(path: Path, ids: Sequence[str], landmark_ids: NDArray[np.int64]) -> None:
    """Write images.parquet: image_id, landmark_id of all images of a table, in its order."""
    columns = {"image_id": pa.array(ids, pa.string()), "landmark_id": pa.array(landmark_ids)}
    pq.write_table(pa.table(columns), path)


def write_failures(path: Path, ids: Sequence[str], failures: Sequence[Failure]) -> None:
    """Write failures.parquet: image_id, reason, message; ids are those of all images asked for."""
    schema = pa.schema([(name, pa.string()) for name in ("image_id", "reason", "message")])
    rows = [
        {"image_id": ids[f.position], "reason": f.reason, "message": f.message} for f in failures
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def read_failures(path: Path) -> dict[str, tuple[str, str]]:
    """Return reason and message of each image in a failures.parquet, by image id."""
    rows = read_parquet(path).to_pylist()
    return {row["image_id"]: (row["reason"], row["message"]) for row in rows}
