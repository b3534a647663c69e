"""Make a dataset of GLDv2: fetch what it needs, or say what is not there, then write its tables."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from .catalog import TARS, RemoteFile, Subset, Task, list_files
from .fetch import Mirror, fetch_files, find_missing
from .mirror_tables import find_missing_tables
from .tables import claim_folder, import_gldv2
from .unpacked import is_unpacked

logger = logging.getLogger(__name__)


def make_gldv2(
    mirror: Mirror,
    folder: Path,
    numbers: Mapping[str, Sequence[int]],
    *,
    fetch: bool,
    task: Task = "recognition",
    subset: Subset = "clean",
) -> dict[str, int]:
    """Write a dataset folder of GLDv2; return how many images each split got.

    Args:
        mirror: where GLDv2's files are or shall be, and the server they come from.
        folder: the dataset folder to write.
        numbers: of the tars of each split that are asked for. All that are there are used.
        fetch: fetch what is not in the mirror. A split that is there unpacked needs no tars.
        task: what the dataset is for; see import_gldv2.
        subset: which training images; see import_gldv2.

    Raises:
        FileNotFoundError, FileExistsError, ValueError, ConnectionError: as fetch_files and
            import_gldv2.
    """
    files = _needed(mirror.folder, list_files(task, subset, numbers), task, subset)
    if fetch:
        claim_folder(folder, task, subset)  # before hours of fetching
        fetch_files(mirror, files)
    elif missing := find_missing(mirror.folder, files):
        logger.warning("not in %s: %s; --fetch fetches them", mirror.folder, describe(missing))
    return import_gldv2(mirror.folder, folder, task=task, subset=subset)


def _needed(
    folder: Path, files: Sequence[RemoteFile], task: Task, subset: Subset
) -> list[RemoteFile]:
    """Leave out tables that are elsewhere in the mirror, and tars of splits unpacked there."""
    unpacked = {split for split in TARS if is_unpacked(folder / split)}
    if unpacked:
        logger.info("%s is unpacked; its tars are not needed", " and ".join(sorted(unpacked)))
    tables = set(find_missing_tables(folder, task, subset))
    return [
        file
        for file in files
        if (file.path in tables if file.split is None else file.split not in unpacked)
    ]


def describe(files: Sequence[RemoteFile]) -> str:
    """Return how many tars of each split these are, about how large, and which tables.

    Example:
        >>> files = list_files("recognition", "clean", {"train": range(10), "test": [0]})
        >>> describe(files[4:])
        'recognition_solution_v2.1.csv, 10 of 500 train tars (10 GB), 1 of 20 test tars (0.5 GB)'
    """
    names = [Path(file.path).name for file in files if file.split is None]
    counts: defaultdict[str, int] = defaultdict(int)
    for file in files:
        if file.split is not None:
            counts[file.split] += 1
    return ", ".join(
        names
        + [
            f"{count} of {TARS[split].count} {split} tars ({count * TARS[split].bytes / 1e9:g} GB)"
            for split, count in counts.items()
        ]
    )
