"""Parquet files that notice any change of their bytes, read whole or some rows at a time.

Parquet's own checksums cover the data of pages, not their headers, nor the footer. Here the footer
holds a CRC-32 of each row group as its bytes lie in the file, with all that is between it and the
next, and the sha256 of the footer itself: the seal, which names the file's whole content. Other
programs read the files as any Parquet. Reads and writes any file it is given.
"""

import hashlib
import re
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError

KEY = b"seal"  # of the footer's metadata
MAGIC = b"PAR1"  # ends the file, after the length of the footer: 4 bytes, little-endian
BLANK = b"0" * 64
SLOT = re.compile(rb"seal:([0-9a-f]{64})((?:[0-9a-f]{8})+)")  # sha256, then the checksums


class BrokenSealError(InputError):
    """A file is not as it was written; the message says what was found, not what to do."""


def write_sealed(table: pa.Table, path: Path, *, group_rows: int | None = None) -> None:
    """Write a table, uncompressed; the same table gives the same bytes.

    Args:
        table: with the metadata that read gives back.
        path: the file to write, replaced if it exists.
        group_rows: rows that are read and checked together; None for all.
    """
    group_rows = group_rows or max(len(table), 1)
    groups = max(-(-len(table) // group_rows), 1)
    blank = b"seal:" + BLANK + b"0" * 8 * groups
    metadata = {**(table.schema.metadata or {}), KEY: blank}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        sink,
        row_group_size=group_rows,
        compression="none",  # descriptors do not compress, and reading is what must be fast
        use_dictionary=False,
        write_statistics=False,
    )
    buffer = sink.getvalue()
    footer = bytearray(_read_footer(buffer))
    start = footer.index(blank) + len(b"seal:") + len(BLANK)
    ranges = _list_ranges(pq.read_metadata(pa.BufferReader(buffer)), buffer.size - len(footer))
    sums = "".join(f"{_sum(buffer, place):08x}" for place in ranges).encode()
    footer[start : start + len(sums)] = sums
    footer[start - len(BLANK) : start] = hashlib.sha256(footer).hexdigest().encode()
    with path.open("wb") as file:
        file.write(memoryview(buffer)[: buffer.size - len(footer)])
        file.write(footer)


def read_seal(path: Path) -> str:
    """Return the seal of a file, reading its footer alone; errors as SealedFile."""
    return _check_seal(_read_footer(_map(path), path), path)[0]


class SealedFile:
    """One open file; opening reads and checks the footer, reading a group checks that group.

    Attributes:
        seal: 64 hexadecimal digits that name the content.
        metadata: of the table that was written.
        groups: number of row groups.
        group_rows: rows of each but the last.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            FileNotFoundError: no file there.
            BrokenSealError: the footer is not as it was written, or the file was not sealed.
        """
        self.path = path
        self._bytes = _map(path)
        footer = _read_footer(self._bytes, path)
        self.seal, self._sums = _check_seal(footer, path)
        try:
            self._file = pq.ParquetFile(pa.BufferReader(self._bytes))
        except (pa.ArrowException, OSError) as error:
            raise BrokenSealError(f"{path} is damaged: {error}") from error
        self.metadata: dict[bytes, bytes] = dict(self._file.schema_arrow.metadata or {})
        self.groups: int = self._file.metadata.num_row_groups
        self.group_rows: int = self._file.metadata.row_group(0).num_rows if self.groups else 1
        self._local = threading.local()
        self._intact: set[int] = set()  # groups that were checked
        self._ranges = _list_ranges(self._file.metadata, self._bytes.size - len(footer))
        if len(self._ranges) != len(self._sums):
            raise BrokenSealError(f"{path} is damaged: {len(self._sums)} checksums of row groups")

    def read_group(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Read some columns of a row group; threads may read at the same time.

        Raises:
            BrokenSealError: a byte of the group changed.
        """
        self._check(group)
        return self._own_reader().read_row_group(group, list(columns), use_threads=False)

    def read_unchecked(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of all groups, or all; the caller knows what their values must be.

        Raises:
            BrokenSealError: they cannot be read.
        """
        try:
            return self._file.read(None if columns is None else list(columns))
        except (pa.ArrowException, OSError) as error:
            raise BrokenSealError(f"{self.path} is damaged: {error}") from error

    def check(self) -> None:
        """Raise BrokenSealError if any byte of the file is not as it was written."""
        for group in range(len(self._ranges)):
            self._check(group)

    def _own_reader(self) -> pq.ParquetFile:
        """Return this thread's reader: Arrow promises nothing of one that threads share."""
        if not hasattr(self._local, "reader"):
            source = pa.BufferReader(self._bytes)
            self._local.reader = pq.ParquetFile(source, metadata=self._file.metadata)
        reader: pq.ParquetFile = self._local.reader
        return reader

    def _check(self, group: int) -> None:
        if group in self._intact:
            return
        if _sum(self._bytes, self._ranges[group]) != self._sums[group]:
            raise BrokenSealError(
                f"{self.path} is damaged: the checksum of row group {group + 1} of "
                f"{len(self._ranges)} differs"
            )
        self._intact.add(group)


def _map(path: Path) -> pa.Buffer:
    if not path.stat().st_size:  # cannot be mapped
        raise BrokenSealError(f"{path} is damaged: it is empty")
    try:
        with pa.memory_map(str(path)) as file:
            return file.read_buffer()
    except OSError as error:  # of the system: Arrow names the file in its text alone
        raise OSError(error.errno, str(error), str(path)) from error


def _read_footer(content: pa.Buffer, path: Path | str = "the file") -> bytes:
    """Return the footer with its length and the magic at the end."""
    end = content[max(content.size - 8, 0) :].to_pybytes()
    length = int.from_bytes(end[:4], "little") + 8
    if end[4:] != MAGIC or length > content.size:
        raise BrokenSealError(f"{path} is damaged: it does not end as a Parquet file does")
    return bytes(content[content.size - length :].to_pybytes())


def _check_seal(footer: bytes, path: Path) -> tuple[str, list[int]]:
    """Return the seal and the checksums of the row groups."""
    found = SLOT.search(footer)
    if found is None:
        raise BrokenSealError(f"{path} is damaged, or another program wrote it: it has no seal")
    blank = footer[: found.start(1)] + BLANK + footer[found.end(1) :]
    if hashlib.sha256(blank).hexdigest().encode() != found[1]:
        raise BrokenSealError(f"{path} is damaged: the sha256 of its footer differs")
    sums = found[2]
    return found[1].decode(), [int(sums[i : i + 8], 16) for i in range(0, len(sums), 8)]


def _list_ranges(metadata: Any, footer: int) -> list[range]:
    """Cut the bytes before the footer into one range a row group, and none left over."""
    starts = [
        metadata.row_group(n).column(0).data_page_offset for n in range(metadata.num_row_groups)
    ]
    return [range(a, b) for a, b in zip([0, *starts[1:]], [*starts[1:], footer], strict=True)]


def _sum(content: pa.Buffer, place: range) -> int:
    return zlib.crc32(content[place.start : place.stop])
