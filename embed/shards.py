"""The file format of global descriptors: Parquet shards of id, label, vector and head scores.

Reads and writes part-*.parquet and failures.parquet. A shard is complete in itself: it carries
the failures of its images and the key of the job that wrote it, so that a job can go on after it.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .columns import read_parquet, to_array
from .errors import InputError, MissingFileError
from .failure import Failure
from .head_scores import HeadScores
from .sealed import BrokenSealError, SealedFile, write_sealed

logger = logging.getLogger(__name__)

HEAD_COLUMNS = {"head_label": "labels", "head_score": "scores", "head_probability": "probabilities"}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Global descriptors of images that could be read, in the order of their table."""

    ids: tuple[str, ...]  # [N]
    landmark_ids: NDArray[np.int64]  # [N]; -1 where unknown
    vectors: NDArray[np.float32]  # [N, dim], rows of length 1
    head: HeadScores  # what the classification head says of the N images

    def __post_init__(self) -> None:
        """Raise ValueError unless there are one id, one label and scores a vector."""
        counts = (len(self.ids), len(self.landmark_ids), len(self.vectors), len(self.head))
        if len(set(counts)) > 1:
            raise ValueError(
                "{} ids, {} labels, {} vectors and head scores of {} images".format(*counts)
            )

    def take(self, rows: Any) -> Self:
        """Return the embeddings of some images: a slice, or an index array."""
        places = np.arange(len(self.ids))[rows]
        return type(self)(
            tuple(self.ids[place] for place in places),
            self.landmark_ids[places],
            self.vectors[places],
            self.head.take(places),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the embeddings of all parts, one part after the other."""
        return cls(
            tuple(image_id for part in parts for image_id in part.ids),
            np.concatenate([part.landmark_ids for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            HeadScores.concatenate([part.head for part in parts]),
        )


def write_shard(
    path: Path, embeddings: Embeddings, failures: Sequence[Failure], *, dtype: str, key: str
) -> None:
    """Write one shard; dtype is float16 or float32, key names the job."""
    head = embeddings.head
    asked = HEAD_COLUMNS.items() if head.labels.shape[1] else ()
    table = pa.table(
        {
            "image_id": pa.array(embeddings.ids, pa.string()),
            "landmark_id": pa.array(embeddings.landmark_ids, pa.int64()),
            "embedding": _to_lists(embeddings.vectors.astype(dtype)),
            **{name: _to_lists(getattr(head, of)) for name, of in asked},
        }
    )
    write_sealed(table.replace_schema_metadata(shard_notes(failures, key)), path)


def _to_lists(values: NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _from_lists(column: pa.ChunkedArray) -> NDArray[Any]:
    lists = column.combine_chunks()
    return to_array(lists.flatten()).reshape(-1, lists.type.list_size)


def shard_notes(failures: Sequence[Failure], key: str) -> dict[str, str]:
    """Return the metadata that read_shard_failures reads back."""
    return {"key": key, "failures": json.dumps([asdict(failure) for failure in failures])}


def read_shard_failures(path: Path, key: str) -> list[Failure] | None:
    """Return the failures of a shard, or None if there is no whole shard of this job at path.

    Every byte of it is checked; that a damaged one does not count is logged.
    """
    try:
        shard = SealedFile(path)
        if shard.metadata.get(b"key", b"").decode() != key:
            return None
        shard.check()
    except FileNotFoundError:
        return None
    except BrokenSealError as error:
        logger.warning("%s; it is made again", error)
        return None
    return [Failure(**failure) for failure in json.loads(shard.metadata[b"failures"])]


def read_embeddings(paths: Sequence[Path]) -> Embeddings:
    """Read shards in the given order, as float32; that they are intact the caller knows.

    Raises:
        MissingFileError: a shard is missing, or none are given.
        InputError: a file is no shard.
    """
    if not paths:
        raise MissingFileError("there are no embeddings to read; run `cairn embed` first")
    try:
        tables = [read_parquet(path) for path in paths]
        # Of a shard without a readable image the head was not asked: it has no columns of it.
        table = pa.concat_tables([part for part in tables if len(part)] or tables[:1])
        vectors = _from_lists(table["embedding"]).astype(np.float32)
        head = HeadScores.none(len(table))
        if set(HEAD_COLUMNS) <= set(table.column_names):
            head = HeadScores(**{of: _from_lists(table[name]) for name, of in HEAD_COLUMNS.items()})
    except FileNotFoundError as error:
        raise MissingFileError(f"{error}; run `cairn embed`") from error
    except (OSError, pa.ArrowInvalid, KeyError, AttributeError) as error:
        raise InputError(
            f"{paths[0].parent} holds a file that is no embedding shard ({error}); "
            "run `cairn embed --redo`"
        ) from error
    return Embeddings(
        tuple(table["image_id"].to_pylist()),
        to_array(table["landmark_id"]).astype(np.int64),
        vectors,
        head,
    )


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
