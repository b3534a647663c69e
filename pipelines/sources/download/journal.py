"""Remember final failures while a download runs, so that a restart does not ask again.

Writes failures.jsonl, a line for each as it happens: after kill -9 only the last line can be
torn, and is cut off. failures.parquet is made from it at the end.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.json

from embed.errors import InputError

from .failures import FetchError

MAX_MESSAGE = 300  # characters
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("status", pa.int32()),  # of HTTP, null where there was no answer
        ("reason", pa.string()),
        ("message", pa.string()),
        ("tries", pa.int32()),  # requests, 0 where none was made
    ]
)


class Journal:
    """The failures of one download; a context manager while it runs."""

    def __init__(self, path: Path) -> None:
        """Take the file, which need not exist."""
        self.path = path

    def __enter__(self) -> Self:
        """Open it for append; cut off what a killed download wrote of a line."""
        self._file = self.path.open("ab", buffering=0)
        self._file.truncate(_whole_bytes(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._file.close()

    def append(self, image_id: str, url: str, error: FetchError, tries: int) -> None:
        """Write a failure, at once."""
        self._file.write(self.format(image_id, url, error, tries))

    @staticmethod
    def format(image_id: str, url: str, error: FetchError, tries: int) -> bytes:
        """Return the line for a failure."""
        # Servers write what they like, and it may be no Unicode at all.
        message = error.message[:MAX_MESSAGE].encode(errors="backslashreplace").decode()
        values = (image_id, url, error.status, error.reason, message, tries)
        return json.dumps(dict(zip(SCHEMA.names, values, strict=True))).encode() + b"\n"

    def read(self) -> pa.Table:
        """Return all failures, the last one first: it counts where an image has two.

        Raises:
            InputError: the file is damaged.
        """
        whole = _whole_bytes(self.path)
        if not whole:
            return SCHEMA.empty_table()
        options = pa.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")
        with self.path.open("rb") as file:
            lines = pa.BufferReader(file.read(whole))
        try:
            table = pa.json.read_json(lines, parse_options=options)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{self.path} is damaged ({error}); delete it: failed images are asked for again"
            ) from error
        return table.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))


def _whole_bytes(path: Path) -> int:
    """Return the length of the whole lines of a file."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
