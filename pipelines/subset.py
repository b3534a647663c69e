"""Write a dataset folder that is another one without some of its training images.

Reads the tables of the other and links its images. Writes images/, the tables, rejected.csv and,
last, train.csv. Opens no image.
"""

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .artifacts import writing
from .dataset import Dataset
from .linking import link_image
from .progress import progress_bar

SPLITS = ("index", "test", "non_landmark")  # beside train
TABLES = (*SPLITS, "solution", "labels")


def write_subset(source: Dataset, folder: Path, rejected: Mapping[str, str]) -> None:
    """Write a dataset folder of all but the rejected training images of another.

    Images are hard links where the file system has them; one that source lacks is left out, and
    found missing by whoever reads it. Tables are copies: they are small, and may be edited.

    Args:
        source: the dataset, which stays as it is.
        folder: the folder to write; its tables are replaced.
        rejected: reason by image id. The rows of these go, with it, to rejected.csv instead of
            train.csv.
    """
    path = source.find_table("train")
    assert path is not None  # a Dataset has one
    table = _read_rows(path)
    reasons = table["id"].map(rejected)
    kept = table[reasons.isna()]
    # Without it an interrupted folder is no dataset: its parts do not fit together yet.
    (folder / "train.csv").unlink(missing_ok=True)
    _link_images(source, folder, tuple(kept["id"]))
    _copy_tables(source, folder)
    gone = table.assign(reason=reasons)[reasons.notna()]
    _write_rows(gone[["id", "landmark_id", "reason"]], folder / "rejected.csv")
    _write_rows(kept, folder / "train.csv")


def _link_images(source: Dataset, folder: Path, trained: tuple[str, ...]) -> None:
    """Link the images of all tables, in the folders they lie in."""
    splits = [source.load_split(name).ids for name in SPLITS if source.find_table(name)]
    ids = dict.fromkeys(itertools.chain(trained, *splits))  # the index may repeat train
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with progress_bar("link images", len(ids)) as advance:
        for image_id in ids:
            path = source.image_path(image_id)
            if path.is_file():
                link_image(path, folder / path.relative_to(source.folder))
            advance(1)


def _copy_tables(source: Dataset, folder: Path) -> None:
    """Copy the tables beside train, and take away those that source has not, or no more."""
    for name in TABLES:
        path = source.find_table(name)
        for suffix in (".csv", ".parquet"):
            if path is None or path.suffix != suffix:
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
        if path is not None:
            with writing(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)


def _read_rows(path: Path) -> pd.DataFrame:
    """Read all columns of a table that was checked before, ids as text."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        return table.assign(id=table["id"].astype(str))
    return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _write_rows(table: pd.DataFrame, path: Path) -> None:
    with writing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
