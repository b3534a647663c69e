"""Read a dataset folder: its tables, checked, and where the file of each image is.

Reads TABLES as .csv or .parquet. Opens no image.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from embed.image_file import ImageFile

from .image_folder import ImageFolder
from .renewal import finish_renewal

# Tables of a dataset folder, each <name>.csv or <name>.parquet. All but train are optional.
LABELLED = ("train", "index", "validation")
SPLITS = (*LABELLED, "test", "non_landmark")
TABLES = (*SPLITS, "solution", "labels")


@dataclass(frozen=True)
class ImageTable:
    """Images of one split: distinct ids, and a landmark each where the split has them."""

    path: Path
    ids: tuple[str, ...]  # [N]
    landmark_ids: NDArray[np.int64]  # [N]; -1 in a split without labels


class Dataset:
    """A dataset folder. Tables are read, and checked, when first asked for."""

    def __init__(self, folder: Path) -> None:
        """Take the folder. Raises FileNotFoundError if it has no train table."""
        self.folder = folder
        finish_renewal(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"no dataset folder at {folder}; make one with `cairn data`, or name yours: --data"
            )
        if self.find_table("train") is None:
            raise FileNotFoundError(
                f"{folder} has no train.csv (columns id,landmark_id); write one beside images/, "
                "or make it of a folder a class: cairn data folders FOLDER"
            )

    def find_table(self, name: str) -> Path | None:
        """Return the file of a table, or None."""
        for suffix in (".csv", ".parquet"):
            if (path := self.folder / f"{name}{suffix}").is_file():
                return path
        return None

    @property
    def database_split(self) -> str:
        """Name of the split that is searched: index where it exists, else train."""
        return "index" if self.find_table("index") else "train"

    def load_split(self, name: str) -> ImageTable:
        """Read one of SPLITS.

        Raises:
            FileNotFoundError: the folder has no such table.
            ValueError: no rows, missing columns, repeated or unusable ids, labels that are no
                integers, or train and database disagreeing with labels.csv.
        """
        path = self.find_table(name)
        if path is None:
            raise FileNotFoundError(f"{self.folder} has no {name}.csv; this stage needs it")
        labelled = name in LABELLED
        table = _read_table(path, ["id", "landmark_id"] if labelled else ["id"])
        ids = _check_ids(table["id"], path)
        if not labelled:
            return ImageTable(path, ids, np.full(len(ids), -1, dtype=np.int64))
        landmark_ids = _check_landmark_ids(table["landmark_id"], path)
        self._check_names(landmark_ids, path)
        return ImageTable(path, ids, landmark_ids)

    def check(self) -> None:
        """Read every table there is, before anything long is begun.

        Raises:
            ValueError: as load_split; or an image is asked about that is also in the database, in
                the training set or in the pool: its figures would be worth nothing.
        """
        tables = {name: self.load_split(name) for name in SPLITS if self.find_table(name)}
        asked = set(tables["test"].ids) if "test" in tables else set()
        for name, table in tables.items():
            both = sorted(asked & set(table.ids)) if name != "test" else []
            if both:
                raise ValueError(
                    f"{len(both)} images of test are in {table.path.name}, too, the first is "
                    f"'{both[0]}'; an image is either asked about or known: keep one of the rows"
                )
        self._check_held_out(tables)

    def _check_held_out(self, tables: dict[str, ImageTable]) -> None:
        if "validation" not in tables:
            return
        held_out = tables["validation"]
        both = sorted(set(held_out.ids) & set(tables["train"].ids))
        if both:
            raise ValueError(
                f"{len(both)} images of {held_out.path.name} are in {tables['train'].path.name}, "
                f"too, the first is '{both[0]}'; a model is not validated by what it was trained "
                "on: keep one of the rows"
            )

    @cached_property
    def names(self) -> dict[int, str]:
        """The name of each landmark, from labels.csv; empty without that file."""
        path = self.find_table("labels")
        if path is None:
            return {}
        table = _read_table(path, ["landmark_id", "name"])
        landmark_ids = _check_landmark_ids(table["landmark_id"], path)
        repeated = table["landmark_id"][pd.Series(landmark_ids).duplicated().to_numpy()]
        if len(repeated):
            raise ValueError(
                f"{path} names landmark {repeated.iloc[0]} twice; keep one of the rows"
            )
        return dict(zip(landmark_ids.tolist(), table["name"].tolist(), strict=True))

    @cached_property
    def images(self) -> ImageFolder:
        """Where the images are."""
        return ImageFolder(self.folder / "images")

    def locate(self, image_id: str) -> ImageFile:
        """Return where an image is: see ImageFolder.locate."""
        return self.images.locate(image_id)

    def _check_names(self, landmark_ids: NDArray[np.int64], path: Path) -> None:
        if not self.names:
            return
        unnamed = sorted(set(landmark_ids.tolist()) - self.names.keys())
        if unnamed:
            raise ValueError(
                f"{path} has {len(unnamed)} landmarks that labels.csv does not name "
                f"({', '.join(map(str, unnamed[:5]))}); add them, or delete labels.csv: names are "
                "optional"
            )


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read the named columns as text: an id 'NA' or '007' stays what it is."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} is empty; it needs a header {','.join(columns)}") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    if path.suffix == ".csv" and not isinstance(table.index, pd.RangeIndex):
        # pandas takes the first of too many values for a row's name and shifts the others.
        raise ValueError(f"{path} has more values in its rows than columns in its header")
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]}, only {', '.join(map(str, table.columns))}; "
            f"it needs the header {','.join(columns)}"
        )
    if not len(table):
        raise ValueError(f"{path} has a header and no rows; add some, or delete it if optional")
    for name in columns:
        empty = np.flatnonzero(table[name].isna())  # a null of Parquet, a CSV line cut short
        if len(empty):
            raise ValueError(f"{path}: row {empty[0] + 1} has no {name}; give it one")
    return table[columns].astype(str)


def _check_ids(ids: "pd.Series[str]", path: Path) -> tuple[str, ...]:
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise ValueError(
            f"{path} has {len(repeated)} repeated ids, the first is '{repeated.iloc[0]}'; "
            "keep one row for each image"
        )
    bad = ids[(ids == "") | ids.str.startswith(".") | ids.str.contains(r"[/\\\0\n\r]", regex=True)]
    if len(bad):
        raise ValueError(
            f"{path}: id {bad.iloc[0]!r} cannot be a file name; use ids without slashes, line "
            "breaks or a leading dot, and no folder or suffix: 'photo1' for images/photo1.jpg"
        )
    return tuple(ids)


def _check_landmark_ids(values: "pd.Series[str]", path: Path) -> NDArray[np.int64]:
    bad = values[~values.str.fullmatch(r"[0-9]{1,18}")]
    if len(bad):
        raise ValueError(
            f"{path}, line {int(bad.index[0]) + 2}: landmark_id {bad.iloc[0]!r} is not an integer "
            "of 0 or more"
        )
    return np.asarray(values.astype("int64"), dtype=np.int64)
