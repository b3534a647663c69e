"""Read a table of images from a CSV file or from Parquet files, all columns but the image bytes.

Reads the files it is given. Writes nothing.
"""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embed.errors import InputError, MissingFileError
from embed.table_file import read_table

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
# Where no column is named, the first of these that is there.
ID_COLUMNS = ("id", "image_id", "file_name", "filename", "path")
LABEL_COLUMNS = ("landmark_id", "label", "name", "class")
SPLIT_COLUMN = "split"
USUAL_COLUMNS = (*ID_COLUMNS, *LABEL_COLUMNS, SPLIT_COLUMN)


@dataclass(frozen=True)
class TableSource:
    """A table in one CSV file or in several Parquet files of the same columns."""

    paths: tuple[Path, ...]  # .csv, or in the order of their rows .parquet
    schema: pa.Schema

    @property
    def name(self) -> str:
        """Name the source for people."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns that may hold the bytes of images, as bytes or beside a path."""
        return tuple(field.name for field in self.schema if find_bytes(field.type) is not None)

    def count_rows(self) -> int:
        """Return the rows of a Parquet source without reading them."""
        return sum(pq.read_metadata(path).num_rows for path in self.paths)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Read columns of all files: text of CSV, whatever it is of Parquet.

        A column a.b is the structure a with its field b alone.

        Raises:
            InputError: a file is damaged.
        """
        if is_text(self.paths[0]):
            return read_table(self.paths[0], columns).select(columns)
        try:
            return pa.concat_tables(_read_parquet(path, columns) for path in self.paths)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{self.name} cannot be read: {error}") from error

    def read_class_names(self, column: str) -> Mapping[int, str]:
        """Return the names of the numbers in a column, where Hugging Face datasets noted them."""
        noted = (self.schema.metadata or {}).get(b"huggingface")
        if noted is None:
            return {}
        try:
            feature = json.loads(noted)["info"]["features"][column]
            names = feature["names"] if feature["_type"] == "ClassLabel" else []
        except (ValueError, KeyError, TypeError):  # another version notes something else
            return {}
        return dict(enumerate(map(str, names)))


def find_bytes(kind: pa.DataType) -> str | None:
    """Return the field of a column's type that holds bytes: "" if it is bytes; None without any."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return ""
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return next((f.name for f in fields if find_bytes(f.type) == ""), None)
    return None


def is_text(path: Path) -> bool:
    """Tell whether a table is CSV, by its name."""
    return path.suffix.lower() in TEXT_SUFFIXES


def open_source(paths: Sequence[Path]) -> TableSource:
    """Open a table: one CSV file, or Parquet files, folders of them, or patterns like *.parquet.

    Raises:
        MissingFileError: nothing there.
        InputError: several CSV files, CSV beside Parquet, another kind of file, files of other
            columns than the first, or a file that is not what its suffix says.
    """
    found = tuple(file for path in paths for file in _list_files(path))
    kinds = {path.suffix.lower() for path in found}
    if len(found) == 1 and is_text(found[0]):
        return TableSource(found, read_table(found[0], (), USUAL_COLUMNS, others=True).schema)
    if kinds != {".parquet"}:
        others = f" and {len(found) - 1} other files" if len(found) > 1 else ""
        raise InputError(
            f"{found[0]}{others}: name one .csv file, or .parquet files or a folder of them; a "
            "table of another kind must be saved as one of these"
        )
    schemas = [_read_schema(path) for path in found]
    for path, schema in zip(found, schemas, strict=True):
        if not schema.equals(schemas[0]):
            raise InputError(
                f"{path} has the columns {_describe(schema)}, but {found[0]} has "
                f"{_describe(schemas[0])}; import them into dataset folders of their own"
            )
    return TableSource(found, schemas[0])


def _list_files(path: Path) -> list[Path]:
    """Return the files that a path or a pattern stands for, sorted."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*.parquet") if p.name[0] not in "._")
        advice = "no .parquet file in or below"
    elif path.is_file():
        return [path]
    else:
        found = sorted(map(Path, glob.glob(str(path), recursive=True)))
        advice = "no table at"
    if not found:
        raise MissingFileError(f"{advice} {path}")
    return found


def _read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    # Not pq.read_table, which reads all of a structure to give one field: here, gigabytes of bytes.
    with pq.ParquetFile(path) as file:
        return file.read(columns=list(columns))


def _read_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is not a Parquet file: {error}") from error


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
