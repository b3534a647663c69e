"""Read every image of a dataset once, and later only those that are new or have changed.

Reads the tables and the image files. Writes scan/ of the dataset folder, or of another
(scan_parts). Goes on after the last whole part of an interrupted scan.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.image_file import FileSlice, ImageFile
from embed.parallel import run_parallel
from embed.settings import DecodeSettings
from pipelines.artifacts import invalidate
from pipelines.datasets.dataset import SPLITS, Dataset
from pipelines.progress import progress_bar

from .fingerprint import take_fingerprint
from .scan_parts import (
    FOLDER,
    FOUND,
    STATE,
    is_valid_part,
    load_scan,
    read_parts,
    sign_scan,
    write_part,
)

logger = logging.getLogger(__name__)

PART_SIZE = 4096  # images in one file; the unit of resuming
CHUNK = 64  # images between two moves of the bar
BLOCK = 1 << 16  # images whose files are looked for at a time
# Reasons that may pass without a trace in the file: its rights, its disk.
PASSING = pa.array(["no_permission", "unreadable"])


def scan_dataset(dataset: Dataset, folder: Path | None = None) -> pa.Table:
    """Read all images of all tables that are new or have changed; return what load_scan does.

    Images are read in threads. The memory that this takes grows by what load_scan returns, some
    300 bytes an image; the small pictures stay on disk.

    Args:
        dataset: whose images are read.
        folder: where scan/ is; None: in the dataset's own folder.

    Raises:
        FileNotFoundError: the folder of images is missing.
        ValueError: a table is not what load_split takes.
    """
    folder = folder or dataset.folder
    parts = folder / FOLDER
    now = _list_images(dataset)
    invalidate(parts)
    _keep_valid(parts, now)
    paths = sorted(parts.glob("part-*.parquet"))
    known = read_parts(paths, ["id"])["id"].combine_chunks()
    new = now.filter(pc.invert(pc.is_in(now["id"], value_set=known)))
    if len(known) and new.num_rows:
        logger.info("%d images were read before, %d are new or changed", len(known), new.num_rows)
    _read_images(dataset, new, _name_parts(parts, paths))
    sign_scan(folder)
    return load_scan(folder)


def _list_images(dataset: Dataset) -> pa.Table:
    """Return id and STATE of the images of all tables, sorted by id."""
    tables = [dataset.load_split(name).ids for name in SPLITS if dataset.find_table(name)]
    ids = sorted(set().union(*tables))
    times: dict[Path, int] = {}  # of tars
    blocks = range(0, len(ids), BLOCK)
    return pa.concat_tables(_list_files(dataset, ids[b : b + BLOCK], times) for b in blocks)


def _list_files(dataset: Dataset, ids: Sequence[str], times: dict[Path, int]) -> pa.Table:
    """Return id and STATE of some images; times remembers the tars, which hold many."""
    names = []
    numbers = np.zeros((len(ids), 3), dtype=np.int64)
    # Paths are relative to the dataset folder, which may be moved.
    start = len(str(dataset.folder / "images")) - len("images")
    for row, file in enumerate(dataset.images.locate_all(ids)):
        if isinstance(file, FileSlice):
            if file.path not in times:
                times[file.path] = _stat(file.path)[1]
            names.append(str(file.path)[start:])
            numbers[row] = file.offset, file.size, times[file.path]
        else:
            names.append(str(file)[start:])
            numbers[row, 1:] = _stat(file)
    return pa.table([pa.array(ids), pa.array(names), *map(pa.array, numbers.T)], ["id", *STATE])


def _stat(path: Path) -> tuple[int, int]:
    """Return bytes and time of a file; 0 and 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _keep_valid(folder: Path, now: pa.Table) -> None:
    """Take out of the parts what is not as it is now: changed, gone, there twice, of other code."""
    paths = sorted(folder.glob("part-*.parquet"))
    for path in paths:
        if not is_valid_part(path):
            path.unlink()
    paths = [path for path in paths if path.exists()]
    valid = _find_valid(read_parts(paths, ["id", *STATE, "reason"]), now)
    start = 0
    for path in paths:
        kept = valid[start : start + pq.read_metadata(path).num_rows]
        start += len(kept)
        if not kept.any():
            path.unlink()
        elif not kept.all():
            write_part(pq.read_table(path).filter(pa.array(kept)), path)


def _find_valid(known: pa.Table, now: pa.Table) -> NDArray[np.bool_]:
    """Return which rows of parts are of an image as it is now, [len(known)]."""
    place = pc.index_in(known["id"], value_set=now["id"].combine_chunks())
    current = now.take(pc.fill_null(place, 0))
    same = pc.and_(pc.is_valid(place), pc.invert(pc.is_in(known["reason"], value_set=PASSING)))
    for name in STATE:
        same = pc.and_(same, pc.equal(known[name], current[name]))
    # An image is there twice if a scan ended between the writing of a part and here.
    rows = np.flatnonzero(np.asarray(same))
    rows = rows[~pd.Series(np.asarray(pc.fill_null(place, -1))[rows]).duplicated()]
    valid = np.zeros(known.num_rows, dtype=bool)
    valid[rows] = True
    return valid


def _read_images(dataset: Dataset, images: pa.Table, paths: Iterator[Path]) -> None:
    """Read images (id and STATE) and write them in parts."""
    with progress_bar("read images", images.num_rows) as advance:
        for start in range(0, images.num_rows, PART_SIZE):
            part = images.slice(start, PART_SIZE)
            files = _list_places(dataset.folder, part)
            rows = []
            for place in range(0, len(files), CHUNK):
                rows += run_parallel(_take, files[place : place + CHUNK])
                advance(len(files[place : place + CHUNK]))
            found = pa.Table.from_pylist(rows, pa.schema(FOUND))
            columns = [*part.columns, *found.columns]
            write_part(pa.table(columns, [*part.column_names, *FOUND]), next(paths))


def _list_places(folder: Path, part: pa.Table) -> list[ImageFile]:
    """Return where the images of a part are."""
    columns = (part[name].to_pylist() for name in ("file", "offset", "bytes"))
    return [
        FileSlice(folder / file, offset, size) if offset else folder / file
        for file, offset, size in zip(*columns, strict=True)
    ]


def _take(file: ImageFile) -> dict[str, object]:
    return asdict(take_fingerprint(file, DecodeSettings().max_pixels))


def _name_parts(folder: Path, taken: Sequence[Path]) -> Iterator[Path]:
    """Yield names for parts, after those that are taken."""
    number = int(taken[-1].stem.removeprefix("part-")) if taken else -1
    while True:
        number += 1
        yield folder / f"part-{number:05d}.parquet"
