"""Keep local features in Parquet files, and read those of some images.

A part (see embed.parts) holds the features of some images, a row an image; whatever is read of it
is checked. Knows nothing of how features are found or used. Reads and writes `part-*.parquet`.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from embed.columns import to_array
from embed.errors import InputError, MissingFileError
from embed.parts import read_ids
from embed.sealed import BrokenSealError, SealedFile

from .features import LocalFeatures
from .places import FeaturePlaces

FORMAT = "2"
# A row is about 90 kB; one is read at random, so a group holds few.
ROWS_PER_GROUP = 4
# Parts open at a time. One of 512 images takes 1.2 MB, its parsed footer, and 1 ms to open.
OPEN_PARTS = 128
FINGERPRINT_KEY = b"extractor_fingerprint"
DTYPE_KEY = b"descriptor_dtype"
DIM_KEY = b"descriptor_dim"
FORMAT_KEY = b"features_format"
REMAKE = "extract features again"
COLUMNS = ("image_id", "width", "height", "keypoints", "scores", "scales", "descriptors")


def make_rows(
    image_ids: Sequence[str], features: Sequence[LocalFeatures], extractor_fingerprint: str
) -> pa.Table:
    """Return the rows of a part, for embed.parts.write_part with groups of ROWS_PER_GROUP.

    Args:
        image_ids: [n] distinct ids.
        features: [n] features of those images, descriptors of one dtype.
        extractor_fingerprint: of the extractor that made them; the store asks for it.

    Raises:
        ValueError: lengths differ, or dtype or dim of descriptors differ.
    """
    if len(image_ids) != len(features):
        raise ValueError(f"{len(image_ids)} image ids for {len(features)} features")
    dtypes = {record.descriptors.dtype.name for record in features} or {"uint8"}
    dims = {record.descriptors.shape[1] for record in features} or {1}
    if len(dtypes) > 1 or len(dims) > 1:
        raise ValueError(
            f"descriptors have dtypes {sorted(dtypes)} and dims {sorted(dims)}, expected one of "
            "each; extract them all with the same extractor"
        )
    metadata: dict[bytes, str] = {
        FORMAT_KEY: FORMAT,
        FINGERPRINT_KEY: extractor_fingerprint,
        DTYPE_KEY: dtypes.pop(),
        DIM_KEY: str(dims.pop()),
    }
    return _table(image_ids, features).replace_schema_metadata(metadata)


class StoredFeatures(Protocol):
    """Features that are read when they are asked for."""

    def get(self, image_id: str) -> LocalFeatures | None:
        """Return the features of an image, or None where it is not stored."""
        ...

    def get_many(self, image_ids: Iterable[str] | pa.Array) -> list[LocalFeatures | None]:
        """Return the features of images; None of an image that is not stored."""
        ...


@dataclass(frozen=True, eq=False)
class LayeredStore:
    """A store, and others that hold some images in its place."""

    first: StoredFeatures
    layers: Sequence[tuple[Container[str], StoredFeatures]]  # the images that count of each

    def get(self, image_id: str) -> LocalFeatures | None:
        """Return the features of an image, or None where it is not stored."""
        return self.get_many([image_id])[0]

    def get_many(self, image_ids: Iterable[str] | pa.Array) -> list[LocalFeatures | None]:
        """Return the features of images; None of an image that is not stored."""
        ids = image_ids.to_pylist() if isinstance(image_ids, pa.Array) else list(image_ids)
        found: list[LocalFeatures | None] = [None] * len(ids)
        left = list(range(len(ids)))
        for held, store in (*self.layers, (ids, self.first)):
            mine = [place for place in left if ids[place] in held]
            read = store.get_many([ids[place] for place in mine]) if mine else []
            for place, features in zip(mine, read, strict=True):
                found[place] = features
            left = [place for place in left if ids[place] not in held]
        return found


class FeatureStore:
    """The features of many images, read from a folder of parts when asked for.

    The latest records stay in memory, up to a number of images, and so many parts stay open.
    Threads may share a store: none waits for another's read.
    """

    def __init__(
        self,
        folder: Path,
        extractor_fingerprint: str,
        *,
        cache_images: int = 2000,
        parts: Iterable[Path] | None = None,
        places: Path | None = None,
        remake: str = REMAKE,
    ) -> None:
        """Open a folder.

        Args:
            folder: where the `part-*.parquet` files lie; none is an empty store.
            extractor_fingerprint: what the parts must have been made with.
            cache_images: images kept in memory; about 90 kB each for SIFT.
            parts: those to read; None for all there are.
            places: the file that says what is in which part; None to open each part for its ids.
            remake: what an error says of how parts are made that are not there.

        Raises:
            MissingFileError: the folder or the file of places does not exist.
            InputError: one that is opened is damaged, of another extractor or format; or a part
                repeats an image of another part.
            ValueError: cache_images is below 1.
        """
        if cache_images < 1:
            raise ValueError(f"cache_images {cache_images} is below 1")
        if not folder.is_dir():
            raise MissingFileError(f"no folder of features at {folder}; extract features first")
        if places is None:
            paths = sorted(folder.glob("part-*.parquet") if parts is None else parts)
            known = find_places(paths, extractor_fingerprint, remake)
        else:
            known = FeaturePlaces.load(places, extractor_fingerprint, remake)

        # lru_cache holds no lock while it calls: two threads may read the same image, and none
        # waits. Functions, not methods: those would keep a store alive that nobody uses any more.
        @lru_cache(OPEN_PARTS)
        def open_part(number: int) -> _Part:
            part = _Part(known.parts[number], extractor_fingerprint, remake)
            if part.seal != known.seals[number]:
                raise InputError(f"{part.path} was written anew since it was opened; start again")
            return part

        @lru_cache(cache_images)
        def read(row: int) -> LocalFeatures:
            part, place = known.locate(row)
            return open_part(part).read(place)

        self._ids, self._read = known.ids, read

    def __len__(self) -> int:
        """Return the number of images, those without features included."""
        return len(self._ids)

    def __contains__(self, image_id: str) -> bool:
        """Say whether features of this image are stored."""
        return self._ids.row_of(image_id) >= 0

    def get(self, image_id: str) -> LocalFeatures | None:
        """Return the features of an image, or None where it is not stored. Errors as get_many."""
        row = self._ids.row_of(image_id)
        return self._read(row) if row >= 0 else None

    def get_many(self, image_ids: Iterable[str] | pa.Array) -> list[LocalFeatures | None]:
        """Return the features of images, read in the order in which they are stored.

        None of an image that is not stored.

        Raises:
            MissingFileError: a part is not there any more.
            InputError: it is damaged there, or another by now.
        """
        rows = self._ids.rows_of(image_ids)
        found: list[LocalFeatures | None] = [None] * len(rows)
        for place in np.argsort(rows, kind="stable").tolist():
            if rows[place] >= 0:
                found[place] = self._read(int(rows[place]))
        return found


def find_places(
    parts: Iterable[Path], extractor_fingerprint: str, remake: str = REMAKE
) -> FeaturePlaces:
    """Open parts and return what is in which of them. Errors as FeatureStore."""

    def read(path: Path) -> tuple[Path, str, Sequence[str]]:
        part = _Part(path, extractor_fingerprint, remake)
        return path, part.seal, part.read_ids()

    return FeaturePlaces.build(map(read, parts))


class _Part:
    """One open file of features."""

    def __init__(self, path: Path, extractor_fingerprint: str, remake: str) -> None:
        self.path, self._remake = path, remake
        try:
            file = self._file = SealedFile(path)
            # Of a batch, which is in order, one group may hold several images.
            self._read_group = lru_cache(1)(lambda group: file.read_group(group, COLUMNS[1:]))
            metadata = self._file.metadata
            self._check(metadata, extractor_fingerprint)
            self._dtype = np.dtype(metadata[DTYPE_KEY].decode())
            self._dim = int(metadata[DIM_KEY])
        except FileNotFoundError as error:
            raise MissingFileError(f"{path} is missing; {remake}") from error
        except BrokenSealError as error:
            raise InputError(f"{error}; delete it, and {remake}") from error

    @property
    def seal(self) -> str:
        """Names the content of the file."""
        return self._file.seal

    def _check(self, metadata: dict[bytes, bytes], extractor_fingerprint: str) -> None:
        if metadata.get(FORMAT_KEY) != FORMAT.encode():
            raise InputError(
                f"{self.path} is not a features part of format {FORMAT}; move it to another folder"
            )
        found = metadata[FINGERPRINT_KEY].decode()
        if found != extractor_fingerprint:
            raise InputError(
                f"{self.path} was made by extractor {found[:12]}, expected "
                f"{extractor_fingerprint[:12]}; go back to the settings it was made with, or "
                f"{self._remake}"
            )

    def read_ids(self) -> list[str]:
        """Return the images of the part, in the order of their rows."""
        try:
            return read_ids(self._file)
        except (BrokenSealError, UnicodeDecodeError) as error:
            raise InputError(f"{error}; delete it, and {self._remake}") from error

    def read(self, row: int) -> LocalFeatures:
        """Read one row; arrays are copied, lest a cached one keep its whole group in memory."""
        try:
            place, row = divmod(row, self._file.group_rows)
            group = self._read_group(place)
        except BrokenSealError as error:
            raise InputError(f"{error}; delete it, and {self._remake}") from error
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
