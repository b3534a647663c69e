"""The files of a scan: what is known of each image of a dataset, in parts that count by themselves.

Reads and writes scan/ of a dataset folder: part-*.parquet, and manifest.json, without which the
scan is not complete.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.files import writing
from embed.settings import DecodeSettings
from pipelines.artifacts import hash_values, write_json

from .fingerprint import DECODED_SIDE, SIDE

FORMAT = 1  # of the parts; those of another one are read anew
FOLDER = "scan"
# What tells that a file has not changed. offset: bytes, 0 where the file is of one image alone.
# bytes: of the image. mtime_ns: of the file. All three are 0 where there is no file.
STATE = {"file": pa.string(), "offset": pa.int64(), "bytes": pa.int64(), "mtime_ns": pa.int64()}
FOUND = {  # the fields of Fingerprint
    "sha256": pa.binary(32),
    "format": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "phash": pa.uint64(),
    "contrast": pa.float32(),
    "thumbnail": pa.binary(SIDE * SIDE),
    "reason": pa.string(),
    "found": pa.string(),
}
SCHEMA = pa.schema({"id": pa.string(), **STATE, **FOUND})
COLUMNS = [name for name in SCHEMA.names if name != "thumbnail"]


def load_scan(folder: Path) -> pa.Table | None:
    """Return the scan of a dataset folder, sorted by id, or None if there is no complete one.

    Columns: id; file, offset, bytes, mtime_ns (STATE); sha256, format, width, height (pixels,
    upright), phash, contrast, reason, found (Fingerprint). reason and found are null where the
    image could be read; where it could not, the others are, but for sha256.
    """
    parts = _list_parts(folder)
    return None if parts is None else read_parts(parts, COLUMNS).sort_by("id")


def load_scanned_ids(folder: Path) -> pa.ChunkedArray | None:
    """Return the ids of the images that were scanned, or None if there is no complete scan."""
    parts = _list_parts(folder)
    return None if parts is None else read_parts(parts, ["id"])["id"]


def load_thumbnails(folder: Path, ids: pa.Array) -> NDArray[np.uint8]:
    """Return the small grey pictures of images that could be read.

    Args:
        folder: a dataset folder with a complete scan.
        ids: [n] string.

    Returns:
        [n, SIDE, SIDE] uint8.
    """
    thumbnails = np.zeros((len(ids), SIDE * SIDE), dtype=np.uint8)
    parts = _list_parts(folder) or []
    all_ids = read_parts(parts, ["id"])["id"]
    places = np.asarray(pc.fill_null(pc.index_in(all_ids, value_set=ids), -1))
    start = 0
    for path in parts:
        part = pq.read_table(path, columns=["thumbnail"])["thumbnail"]
        rows = np.flatnonzero(places[start : start + len(part)] >= 0)
        pictures = part.take(pa.array(rows)).to_pylist()
        values = np.frombuffer(b"".join(pictures), dtype=np.uint8)
        thumbnails[places[start + rows]] = values.reshape(-1, SIDE * SIDE)
        start += len(part)
    return thumbnails.reshape(-1, SIDE, SIDE)


def read_parts(paths: Sequence[Path], columns: Sequence[str]) -> pa.Table:
    """Return some columns of parts, one after the other."""
    tables = [pq.read_table(path, columns=columns).replace_schema_metadata() for path in paths]
    return pa.concat_tables([SCHEMA.empty_table().select(columns), *tables])


def write_part(part: pa.Table, path: Path) -> None:
    """Write a part (SCHEMA), whole or not at all."""
    noted = part.replace_schema_metadata({"key": _key()})
    with writing(path) as temporary:
        pq.write_table(noted, temporary, use_dictionary=["format", "reason"], compression="zstd")


def is_valid_part(path: Path) -> bool:
    """Tell whether a file is a part that this code would write as well."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):  # Arrow says OSError of a damaged footer too
        return False
    return bool(metadata.get(b"key", b"").decode() == _key())


def sign_scan(folder: Path) -> None:
    """Make the parts that are there a complete scan."""
    names = sorted(path.name for path in (folder / FOLDER).glob("part-*.parquet"))
    write_json({"format": FORMAT, "parts": names}, folder / FOLDER / "manifest.json")


def _key() -> str:
    """Name all that decides what is found of an image, beside its file."""
    return hash_values([FORMAT, SIDE, DECODED_SIDE, DecodeSettings().max_pixels])


def _list_parts(folder: Path) -> list[Path] | None:
    """Return the parts of a complete scan, or None."""
    try:
        manifest = json.loads((folder / FOLDER / "manifest.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    parts = [folder / FOLDER / name for name in manifest["parts"]]
    whole = manifest["format"] == FORMAT and all(path.is_file() for path in parts)
    return parts if whole else None
