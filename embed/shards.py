"""The file format of global descriptors: Parquet shards of id, vectors and head scores.

Reads part-*.parquet (see embed.parts), which know no label and no order; reads and writes what
does, images.parquet, and failures.parquet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .columns import find_places, read_parquet, to_array
from .errors import InputError, MissingFileError
from .failure import Failure
from .head_scores import HeadScores
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


def read_embeddings(paths: Sequence[Path], images: Path) -> Embeddings:
    """Read shards as float32, in the order and with the labels of a table.

    Args:
        paths: of the shards; that they are intact the caller knows.
        images: images.parquet, which names all images of the shards.

    Raises:
        MissingFileError: a file is missing, or no shards are given.
        InputError: a file is no shard.
    """
    if not paths:
        raise MissingFileError("there are no embeddings to read; run `cairn embed` first")
    try:
        table = join_rows([read_parquet(path) for path in paths])
        listed = read_parquet(images)
        vectors = _from_lists(table["embedding"]).astype(np.float32)
        regions = None
        if "regions" in table.column_names:
            values = _from_lists(table["regions"]).astype(np.float32)
            dim = vectors.shape[1]
            regions = values.reshape(len(vectors), values.shape[1] // dim, dim)
        head = HeadScores.none(len(table))
        if set(HEAD_COLUMNS) <= set(table.column_names):
            head = HeadScores(**{of: _from_lists(table[name]) for name, of in HEAD_COLUMNS.items()})
        places = find_places(listed["image_id"], table["image_id"])
    except FileNotFoundError as error:
        raise MissingFileError(f"{error}; run `cairn embed`") from error
    except (OSError, pa.ArrowInvalid, KeyError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not the file
            raise
        raise InputError(
            f"{paths[0].parent} holds a file that is no embedding shard ({error}); "
            "run `cairn embed --redo`"
        ) from error
    present = places >= 0
    order = places[present]
    if len(order) != len(vectors):
        raise ValueError(f"{images} names {len(order)} of the {len(vectors)} images of the shards")
    if (order[1:] < order[:-1]).any():  # a copy, which most need not pay for
        vectors, head = vectors[order], head.take(order)
        regions = None if regions is None else regions[order]
    ids = compress(listed["image_id"].to_pylist(), present)
    labels = to_array(listed["landmark_id"]).astype(np.int64)[present]
    return Embeddings(tuple(ids), labels, vectors, head, regions)


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
