"""Say where the features of each image of a store are: in which part, and in which row of it.

The images of all parts, one part after the other, are the rows of one table of ids. Opening it
opens no part: whoever reads one compares its seal. Reads and writes places.arrow, and reads the ids
of parts.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embed.columns import map_columns, to_array, to_texts, write_columns
from embed.errors import InputError, MissingFileError
from index.ids import IdTable, RepeatedIdError

PLACES = "places.arrow"
COLUMNS = ("image_id", "hashes", "by_hash")
PARTS, EXTRACTOR = b"parts", b"extractor_fingerprint"  # of the file's metadata

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PartPlaces:
    """The places of the images of P parts."""

    ids: IdTable  # of the rows of all parts
    parts: tuple[Path, ...]  # [P]
    seals: tuple[str, ...]  # [P], see embed.sealed
    starts: Ints  # [P + 1] the row of ids where each part starts

    @classmethod
    def build(cls, parts: Iterable[tuple[Path, str, Sequence[str]]]) -> Self:
        """Return the places of images, from the seal and the ids of each part.

        Raises:
            InputError: an image is in two parts.
        """
        listed = list(parts)
        starts = np.cumsum([0, *(len(ids) for _, _, ids in listed)])
        paths = tuple(path for path, _, _ in listed)
        try:
            table = IdTable.build(to_texts(each for _, _, ids in listed for each in ids))
        except RepeatedIdError as error:
            one, other = (paths[np.searchsorted(starts, row, "right") - 1] for row in error.rows)
            raise InputError(
                f"image '{error.image_id}' is in both {one} and {other}; move one of the two to "
                "another folder"
            ) from error
        return cls(table, paths, tuple(seal for _, seal, _ in listed), starts)

    @classmethod
    def load(cls, path: Path, extractor_fingerprint: str, remake: str) -> Self:
        """Map a file of places, of parts that lie beside it.

        Args:
            path: of the file; whether it is as it was written, the caller knows.
            extractor_fingerprint: what the parts must have been made with.
            remake: what an error says of how the file is made.

        Raises:
            MissingFileError: no file there.
            InputError: it is no such file, or of another extractor.
        """
        try:
            (texts, hashes, by_hash), metadata = map_columns(path, COLUMNS)
            parts = json.loads(metadata[PARTS])
            made_by = metadata[EXTRACTOR].decode()
        except FileNotFoundError as error:
            raise MissingFileError(f"{path} is missing; {remake}") from error
        except (pa.ArrowException, KeyError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it, and {remake}") from error
        if made_by != extractor_fingerprint:
            raise InputError(
                f"{path} is of features by extractor {made_by[:12]}, expected "
                f"{extractor_fingerprint[:12]}; go back to the settings they were made with, or "
                f"{remake}"
            )
        table = IdTable((texts,), to_array(hashes), to_array(by_hash))
        paths = tuple(path.parent / name for name, _, _ in parts)
        counts = [count for _, _, count in parts]
        return cls(table, paths, tuple(seal for _, seal, _ in parts), np.cumsum([0, *counts]))

    def save(self, path: Path, extractor_fingerprint: str) -> None:
        """Write the places to a file beside the parts."""
        (texts,) = self.ids.texts
        names = [part.name for part in self.parts]
        parts = list(zip(names, self.seals, np.diff(self.starts).tolist(), strict=True))
        columns = dict(zip(COLUMNS, (texts, self.ids.hashes, self.ids.by_hash), strict=True))
        metadata = {PARTS: json.dumps(parts).encode(), EXTRACTOR: extractor_fingerprint.encode()}
        write_columns(path, columns, metadata)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def locate(self, row: int) -> tuple[int, int]:
        """Return the part of a row of ids, and its row in that part."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return part, row - int(self.starts[part])
