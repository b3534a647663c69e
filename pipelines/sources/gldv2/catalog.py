"""Say which files Google Landmarks Dataset v2 has, and where. Reads and writes nothing.

Source: README.md and download-dataset.sh of https://github.com/cvdfoundation/google-landmark
(version 2.1). A folder with the files (here: a mirror) has the paths of the server.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embed.errors import InputError

BASE = "https://s3.amazonaws.com/google-landmark"
SPLITS = ("train", "index", "test")
Task = Literal["recognition", "retrieval"]
Subset = Literal["clean", "full"]
# The splits of images that a task needs: recognition searches the training images.
TASK_SPLITS: dict[Task, tuple[str, ...]] = {
    "recognition": ("train", "test"),
    "retrieval": ("train", "index", "test"),
}


@dataclass(frozen=True)
class Tars:
    """The numbered tars of a split, <split>/images_000.tar and so on."""

    count: int
    images: int
    bytes: int  # of one tar, about: README


TARS = {
    "train": Tars(500, 4_132_914, 1_000_000_000),
    "index": Tars(100, 761_757, 850_000_000),
    "test": Tars(20, 117_577, 500_000_000),
}

# Tables by the name that is used for them here: the path on the server.
TABLES = {
    "train": "metadata/train.csv",  # id,url,landmark_id
    "train_clean": "metadata/train_clean.csv",  # landmark_id,images
    "train_categories": "metadata/train_label_to_category.csv",  # landmark_id,category
    "train_hierarchy": "metadata/train_label_to_hierarchical.csv",
    "index": "metadata/index.csv",  # id
    "index_landmarks": "metadata/index_image_to_landmark.csv",  # id,landmark_id
    "index_categories": "metadata/index_label_to_category.csv",  # landmark_id,category
    "index_hierarchy": "metadata/index_label_to_hierarchical.csv",
    "test": "metadata/test.csv",  # id
    "recognition_solution": "ground_truth/recognition_solution_v2.1.csv",  # id,landmarks,Usage
    "retrieval_solution": "ground_truth/retrieval_solution_v2.1.csv",  # id,images,Usage
}
OPTIONAL = ("_categories", "_hierarchy")  # ends of names of tables


def list_tables(task: Task, subset: Subset) -> list[str]:
    """Return the names of the tables that a dataset is made of.

    train_clean has the landmarks of its images: the clean subset does without train.csv, which is
    half a gigabyte of addresses.
    """
    train = ["train_clean" if subset == "clean" else "train", "train_categories", "train_hierarchy"]
    if task == "recognition":
        return [*train, "test", "recognition_solution"]
    index = ["index", "index_landmarks", "index_categories", "index_hierarchy"]
    return [*train, *index, "test", "retrieval_solution"]


@dataclass(frozen=True)
class RemoteFile:
    """A file of the dataset, by its path on the server and in a mirror."""

    path: str
    md5_path: str | None = None  # of a text with its md5; tables have none
    split: str | None = None  # of a tar
    about: int = 0  # bytes, before the server was asked
    optional: bool = False  # older mirrors lack it; a dataset is made without it, too


def tar_file(split: str, number: int) -> RemoteFile:
    """Describe a tar by its split and number.

    Example:
        >>> tar_file("train", 7).path
        'train/images_007.tar'
    """
    name = f"images_{number:03d}"
    return RemoteFile(
        f"{split}/{name}.tar", f"md5sum/{split}/md5.{name}.txt", split, TARS[split].bytes
    )


def list_files(
    task: Task, subset: Subset, numbers: Mapping[str, Sequence[int]]
) -> list[RemoteFile]:
    """Return what a dataset is made of: its tables, then the chosen tars of its splits."""
    tables = [
        RemoteFile(TABLES[name], optional=name.endswith(OPTIONAL))
        for name in list_tables(task, subset)
    ]
    return tables + [
        tar_file(split, number) for split in TASK_SPLITS[task] for number in numbers[split]
    ]


def parse_tars(texts: Sequence[str]) -> dict[str, Sequence[int]]:
    """Return the numbers of the tars of each split.

    Args:
        texts: "0-9" or "0,3,7-9" for all splits, "train:0-9" for one; none for all tars. A number
            for all splits that only a larger split has is left out of the others.

    Raises:
        InputError: a text is none of these, or a split has no tar of that number.

    Example:
        >>> {split: len(numbers) for split, numbers in parse_tars(["0-29", "index:5"]).items()}
        {'train': 30, 'index': 1, 'test': 20}
    """
    wanted: dict[str, set[int]] = {name: set() for name in ("", *SPLITS)}
    for text in texts:
        named, _, numbers = text.rpartition(":")
        if named and named not in SPLITS:
            raise InputError(f"--tars {text}: no split {named!r}; take {', '.join(SPLITS)}")
        wanted[named].update(_parse_numbers(numbers, text))
        largest = max(TARS[split].count for split in ([named] if named else SPLITS)) - 1
        if max(wanted[named]) > largest:
            raise InputError(f"--tars {text}: the last tar is number {largest}")
    chosen: dict[str, Sequence[int]] = {}
    for split in SPLITS:
        every = range(TARS[split].count)
        numbers_of = wanted[split] or wanted[""] or every
        chosen[split] = [number for number in every if number in numbers_of]
    return chosen


def _parse_numbers(numbers: str, text: str) -> Iterator[int]:
    for part in numbers.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or not (last.isdecimal() or not dash):
            raise InputError(f"--tars {text}: {part!r} is no number and no range; write 0-9 or 0,3")
        # Not further than any split: 0-99999999999 is an error, not all of the memory.
        end = min(int(last if dash else first), 1000)
        if int(first) > end:
            raise InputError(f"--tars {text}: the range {part} is empty or too far")
        yield from range(int(first), end + 1)
