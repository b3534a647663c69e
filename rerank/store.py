"""Keep local features in Parquet files, and read one image's at a time.

A part holds the features of some images, a row an image, so that extraction can resume part by
part; whatever is read of it is checked. Knows nothing of how features are found or used. Reads and
writes `part-*.parquet`.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embed.columns import to_array
from embed.errors import InputError, MissingFileError
from embed.sealed import BrokenSealError, SealedFile, write_sealed

from .features import LocalFeatures

FORMAT = "2"
# A row is about 90 kB; one is read at random, so a group holds few.
ROWS_PER_GROUP = 4
FINGERPRINT_KEY = b"extractor_fingerprint"
DTYPE_KEY = b"descriptor_dtype"
DIM_KEY = b"descriptor_dim"
FORMAT_KEY = b"features_format"
IDS_KEY = b"image_ids_sha256"  # ids are read without the rest of their rows
REMEDY = "delete it and extract features again"
COLUMNS = ("image_id", "width", "height", "keypoints", "scores", "scales", "descriptors")


def write_features_part(
    path: Path,
    image_ids: Sequence[str],
    features: Sequence[LocalFeatures],
    extractor_fingerprint: str,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the features of some images as one part; the same input gives the same bytes.

    Args:
        path: the file to write, replaced if it exists.
        image_ids: [n] distinct ids.
        features: [n] features of those images, descriptors of one dtype.
        extractor_fingerprint: of the extractor that made them; the store asks for it.
        notes: the writer's own entries of the file's metadata.

    Raises:
        ValueError: lengths differ, an id occurs twice, or dtype or dim of descriptors differ.
    """
    if len(image_ids) != len(features):
        raise ValueError(f"{len(image_ids)} image ids for {len(features)} features")
    if len(set(image_ids)) != len(image_ids):
        raise ValueError(f"the image ids of {path} are not distinct; give each image once")
    dtypes = {record.descriptors.dtype.name for record in features} or {"uint8"}
    dims = {record.descriptors.shape[1] for record in features} or {1}
    if len(dtypes) > 1 or len(dims) > 1:
        raise ValueError(
            f"descriptors of {path} have dtypes {sorted(dtypes)} and dims {sorted(dims)}, expected "
            "one of each; extract them all with the same extractor"
        )
    metadata: dict[bytes, str] = {
        FORMAT_KEY: FORMAT,
        FINGERPRINT_KEY: extractor_fingerprint,
        DTYPE_KEY: dtypes.pop(),
        DIM_KEY: str(dims.pop()),
        IDS_KEY: _hash_ids(image_ids),
        **{name.encode(): note for name, note in (notes or {}).items()},
    }
    table = _table(image_ids, features).replace_schema_metadata(metadata)
    write_sealed(table, path, group_rows=ROWS_PER_GROUP)


class FeatureStore:
    """The features of many images, read from a folder of parts when asked for.

    Opening reads the footers and ids only. The latest records stay in memory, up to a number of
    images. Threads may share a store.
    """

    def __init__(
        self,
        folder: Path,
        extractor_fingerprint: str,
        *,
        cache_images: int = 2000,
        parts: Iterable[Path] | None = None,
        remedy: str = REMEDY,
    ) -> None:
        """Open parts of a folder.

        Args:
            folder: where the `part-*.parquet` files lie; none is an empty store.
            extractor_fingerprint: what the parts must have been made with.
            cache_images: images kept in memory; about 90 kB each for SIFT.
            parts: those to open; None for all there are.
            remedy: what an error says is to be done about a damaged part.

        Raises:
            MissingFileError: the folder does not exist.
            InputError: a part is damaged, of another extractor or format, or repeats an image
                of another part.
            ValueError: cache_images is below 1.
        """
        if cache_images < 1:
            raise ValueError(f"cache_images {cache_images} is below 1")
        if not folder.is_dir():
            raise MissingFileError(f"no folder of features at {folder}; extract features first")
        self._cache_images = cache_images
        self._cache: OrderedDict[str, LocalFeatures] = OrderedDict()
        self._lock = threading.Lock()
        self._parts: list[_Part] = []
        self._places: dict[str, tuple[int, int]] = {}  # image_id -> part, row
        for path in sorted(folder.glob("part-*.parquet") if parts is None else parts):
            self._add(_Part(path, extractor_fingerprint, remedy))

    def __len__(self) -> int:
        """Return the number of images, those without features included."""
        return len(self._places)

    def __contains__(self, image_id: str) -> bool:
        """Say whether features of this image are stored."""
        return image_id in self._places

    def get(self, image_id: str) -> LocalFeatures | None:
        """Return the features of an image, or None where the image is not stored.

        Raises:
            InputError: the part is damaged there.
        """
        with self._lock:
            if image_id in self._cache:
                self._cache.move_to_end(image_id)
                return self._cache[image_id]
            if image_id not in self._places:
                return None
            part, row = self._places[image_id]
            record = self._parts[part].read(row)
            self._cache[image_id] = record
            if len(self._cache) > self._cache_images:
                self._cache.popitem(last=False)
            return record

    def _add(self, part: "_Part") -> None:
        for row, image_id in enumerate(part.image_ids):
            if image_id in self._places:
                other = self._parts[self._places[image_id][0]].path
                raise InputError(
                    f"image '{image_id}' is in both {other} and {part.path}; delete one of the two"
                )
            self._places[image_id] = (len(self._parts), row)
        self._parts.append(part)


class _Part:
    """One open file of features."""

    def __init__(self, path: Path, extractor_fingerprint: str, remedy: str) -> None:
        self.path, self._remedy = path, remedy
        try:
            self._file = SealedFile(path)
            metadata = self._file.metadata
            self._check(metadata, extractor_fingerprint)
            self._dtype = np.dtype(metadata[DTYPE_KEY].decode())
            self._dim = int(metadata[DIM_KEY])
            ids = self._file.read_unchecked(["image_id"])["image_id"].to_pylist()
            if _hash_ids(ids) != metadata[IDS_KEY].decode():
                raise BrokenSealError(f"{path} is damaged: the sha256 of its image ids differs")
        except (BrokenSealError, UnicodeDecodeError) as error:
            raise InputError(f"{error}; {remedy}") from error
        self.image_ids: list[str] = ids

    def _check(self, metadata: dict[bytes, bytes], extractor_fingerprint: str) -> None:
        if metadata.get(FORMAT_KEY) != FORMAT.encode():
            raise InputError(
                f"{self.path} is not a features part of format {FORMAT}; {self._remedy}"
            )
        found = metadata[FINGERPRINT_KEY].decode()
        if found != extractor_fingerprint:
            raise InputError(
                f"{self.path} was made by extractor {found[:12]}, expected "
                f"{extractor_fingerprint[:12]}; {self._remedy}, or go back to the settings it was "
                "made with"
            )

    def read(self, row: int) -> LocalFeatures:
        """Read one row; arrays are copied, lest a cached one keep its whole group in memory."""
        try:
            place, row = divmod(row, self._file.group_rows)
            group = self._file.read_group(place, COLUMNS[1:])
        except BrokenSealError as error:
            raise InputError(f"{error}; {self._remedy}") from error
        values = {name: group[name][row] for name in COLUMNS[1:]}
        descriptors = np.frombuffer(values["descriptors"].as_buffer(), self._dtype)
        return LocalFeatures(
            keypoints=_floats(values["keypoints"]).reshape(-1, 2),
            descriptors=descriptors.reshape(-1, self._dim).copy(),
            scores=_floats(values["scores"]),
            scales=_floats(values["scales"]),
            image_size=(values["width"].as_py(), values["height"].as_py()),
        )


def _table(image_ids: Sequence[str], features: Sequence[LocalFeatures]) -> Any:
    floats = pa.list_(pa.float32())
    columns = {
        "image_id": pa.array(list(image_ids), pa.string()),
        "width": pa.array([record.image_size[0] for record in features], pa.int32()),
        "height": pa.array([record.image_size[1] for record in features], pa.int32()),
        "keypoints": pa.array([record.keypoints.ravel() for record in features], floats),
        "scores": pa.array([record.scores for record in features], floats),
        "scales": pa.array([record.scales for record in features], floats),
        "descriptors": pa.array([record.descriptors.tobytes() for record in features], pa.binary()),
    }
    return pa.table(columns)


def _floats(scalar: Any) -> Any:
    return to_array(scalar.values).copy()


def _hash_ids(image_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(image_ids)).encode()).hexdigest()
