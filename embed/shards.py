"""The file format of global descriptors: Parquet shards of id, label and a fixed-size vector.

Reads and writes part-*.parquet and failures.parquet. A shard is complete in itself: it carries
the failures of its images and the key of the job that wrote it, so that a job can go on after it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .columns import read_parquet, to_array
from .failure import Failure


@dataclass(frozen=True)
class Embeddings:
    """Global descriptors of images that could be read, in the order of their table."""

    ids: tuple[str, ...]  # [N]
    landmark_ids: NDArray[np.int64]  # [N]; -1 where unknown
    vectors: NDArray[np.float32]  # [N, dim], rows of length 1

    def __post_init__(self) -> None:
        """Raise ValueError unless there is one id and one label a vector."""
        if not len(self.ids) == len(self.landmark_ids) == len(self.vectors):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.landmark_ids)} labels and "
                f"{len(self.vectors)} vectors"
            )


def write_shard(
    path: Path, embeddings: Embeddings, failures: Sequence[Failure], *, dtype: str, key: str
) -> None:
    """Write one shard; dtype is float16 or float32, key names the job."""
    values = pa.array(embeddings.vectors.astype(dtype).ravel())
    dim = embeddings.vectors.shape[1]
    table = pa.table(
        {
            "image_id": pa.array(embeddings.ids, pa.string()),
            "landmark_id": pa.array(embeddings.landmark_ids, pa.int64()),
            "embedding": pa.FixedSizeListArray.from_arrays(values, dim),
        }
    )
    # Descriptors do not compress: the default codec would cost time and save nothing.
    pq.write_table(
        table.replace_schema_metadata(shard_notes(failures, key)),
        path,
        compression="none",
        use_dictionary=False,
    )


def shard_notes(failures: Sequence[Failure], key: str) -> dict[str, str]:
    """Return the metadata that read_shard_failures reads back."""
    return {"key": key, "failures": json.dumps([asdict(failure) for failure in failures])}


def read_shard_failures(path: Path, key: str) -> list[Failure] | None:
    """Return the failures of a shard, or None if there is no whole shard of this job at path."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):  # Arrow says OSError of a damaged footer too
        return None
    if metadata.get(b"key", b"").decode() != key:
        return None
    return [Failure(**failure) for failure in json.loads(metadata[b"failures"])]


def read_embeddings(paths: Sequence[Path]) -> Embeddings:
    """Read shards in the given order, as float32.

    Raises:
        FileNotFoundError: a shard is missing, or none are given.
        ValueError: a file is no shard.
    """
    if not paths:
        raise FileNotFoundError("there are no embeddings to read; run `cairn embed` first")
    try:
        table = pa.concat_tables([read_parquet(path) for path in paths])
        vectors = table["embedding"].combine_chunks()
        dim = vectors.type.list_size
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid, KeyError, AttributeError) as error:
        raise ValueError(
            f"{paths[0].parent} holds a file that is no embedding shard ({error}); "
            "run `cairn embed --redo`"
        ) from error
    flat = to_array(vectors.flatten()).astype(np.float32)
    return Embeddings(
        tuple(table["image_id"].to_pylist()),
        to_array(table["landmark_id"]).astype(np.int64),
        flat.reshape(-1, dim),
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
