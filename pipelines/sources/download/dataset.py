"""Make a dataset folder of tables of addresses.

Writes images/, failures.parquet, the tables of the dataset with the images that are there
(train last), and download.json. Until then failures.jsonl and images/.downloading keep what an
interrupted download needs; the same call goes on from there.
"""

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embed.errors import InputError
from pipelines.datasets.origin import claim

from .journal import Journal
from .outcome import DownloadResult, explain_missing, find_known, list_wanted, write_outcome
from .progress import Tally
from .rows import read_tables
from .run import run_downloads
from .settings import DownloadSettings
from .sizes import parse_size
from .store import ImageStore, clear_temporary, delete_temporary, list_stored

logger = logging.getLogger(__name__)

LABELLED = frozenset({"train", "index"})


def download_dataset(
    train: Path,
    folder: Path,
    *,
    test: Path | None = None,
    index: Path | None = None,
    non_landmark: Path | None = None,
    settings: DownloadSettings,
    retry_failures: bool = False,
) -> DownloadResult:
    """Fetch the images of the tables into a dataset folder; what is there is not fetched again.

    Args:
        train: table of id,url,landmark_id, CSV or Parquet.
        folder: the dataset folder to write.
        test: table of id,url: all its ids go to test.csv, since each needs an answer.
        index: table as train, of the database to be searched where that is not train.
        non_landmark: table of id,url, of images that show no landmark.
        settings: how to ask, and the size to store.
        retry_failures: ask again for images that failed in earlier runs.

    Raises:
        FileNotFoundError, InputError: as read_tables; none of the images of train could be had.
        InputError: the folder holds a dataset made otherwise, or images of another size.
        InputError: another process downloads into it.
    """
    paths = {"train": train, "index": index, "test": test, "non_landmark": non_landmark}
    tables = read_tables({split: path for split, path in paths.items() if path}, LABELLED)
    claim(folder, {"urls": f"--size {settings.size}"})
    journal = Journal(folder / "failures.jsonl")
    with _locked(folder / "images" / ".downloading") as temporary:
        if retry_failures:
            journal.path.unlink(missing_ok=True)
        wanted = list_wanted(tables)
        given_up = _fetch(wanted, folder, temporary, journal, settings)
        stored = list_stored(folder / "images")
        failures = explain_missing(tables, stored, find_known(journal, wanted), given_up)
        return write_outcome(tables, stored, failures, folder, settings)


@contextlib.contextmanager
def _locked(temporary: Path) -> Iterator[Path]:
    """Make the folder for unfinished files, and keep other processes out while the block runs."""
    temporary.mkdir(parents=True, exist_ok=True)
    with (temporary / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"another process downloads into {temporary.parent}; wait for it, or name another "
                "folder: --data"
            ) from error
        clear_temporary(temporary)
        yield temporary
        delete_temporary(temporary)


def _fetch(
    wanted: pa.Table, folder: Path, temporary: Path, journal: Journal, settings: DownloadSettings
) -> dict[str, str]:
    """Fetch all images that are neither there nor known to fail; return the hosts given up."""
    there = pc.is_in(wanted["id"], list_stored(folder / "images"))
    with journal:
        known = pc.is_in(wanted["id"], find_known(journal, wanted)["id"])
        rows = wanted.filter(pc.invert(pc.or_(known, there)))
        already = pc.sum(there).as_py() or 0  # the sum of nothing is null
        logger.info(
            "%d images to fetch; %d of %d are there, %d failed before",
            *(rows.num_rows, already, wanted.num_rows, wanted.num_rows - rows.num_rows - already),
        )
        tally = Tally(rows.num_rows + already, already)
        store = ImageStore(folder / "images", temporary, parse_size(settings.size))
        try:
            return run_downloads(rows, store, journal, tally, settings) if rows.num_rows else {}
        finally:
            if tally.done < tally.total:
                logger.warning(
                    "stopped: %d of %d images are stored, %d failed",
                    *(tally.stored, tally.total, tally.failed),
                )
