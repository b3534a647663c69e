"""What is said of landmarks: today's labels of the dataset, or what they said when it was indexed.

Writes and reads index/names.json of a run. Nothing is computed from a name, so a new one makes
nothing stale but what shows it.
"""

import logging
import shlex
from pathlib import Path
from typing import Any

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import Manifest, hash_file, load_manifest, read_signed, write_signed
from pipelines.datasets.image_table import Labels

from .job import Job, find_data, read_run

logger = logging.getLogger(__name__)

FILE = "names.json"


def write_names(job: Job, indexed: Manifest) -> None:
    """Keep the names of a run's dataset beside its index, for when it is gone."""
    named, path = job.dataset.find_table("labels") is not None, job.run / "index" / FILE
    labels = job.dataset.labels
    values = {
        "labels": job.dataset.hash_table("labels") if named else None,
        "names": {str(label): name for label, name in labels.names.items()},
        "details": {str(label): details for label, details in labels.details.items()},
        "index": indexed.content,
    }
    try:
        known = read_stored_names(job.run)
    except InputError:  # missing, damaged or of another index: this is what makes it anew
        known = {}
    if values != known:
        write_signed(values, path)


def read_stored_names(run: Path) -> dict[str, Any]:
    """Return what names.json says of the index that is there.

    Raises:
        InputError: the file is missing, damaged, or of another index.
    """
    path, indexed = run / "index" / FILE, load_manifest(run / "index")
    advice = f"make it anew: cairn index --run {shlex.quote(str(run))}"
    try:
        values = read_signed(path)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing; {advice}") from error
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    if indexed is None or values["index"] != indexed.content:
        raise InputError(f"{path} is damaged: it is that of another index; {advice}")
    return values


def load_names(run: Path) -> dict[int, str]:
    """Return the name of each landmark; as load_labels."""
    return load_labels(run).names


def load_labels(run: Path) -> Labels:
    """Return what is said of each landmark: by the dataset as it is now, else as it was indexed.

    A dataset whose labels cannot be read is warned of.

    Raises:
        InputError: as read_stored_names.
    """
    stored, recorded = read_stored_names(run), read_run(run)
    data = find_data(run, recorded) if recorded else None
    if data is not None and data.is_dir():
        tables = (data / f"labels{suffix}" for suffix in (".csv", ".parquet"))
        labels = next((table for table in tables if table.is_file()), None)
        if labels is not None and stored["labels"] != hash_file(labels):
            # pandas takes half a second that a query has no need of
            from pipelines.datasets.dataset import Dataset

            try:
                return Dataset(data).labels
            except (InputError, OSError) as error:
                logger.warning("%s; names are those of the last `cairn index`", error)
    return Labels(
        {int(label): name for label, name in stored["names"].items()},
        {int(label): details for label, details in stored["details"].items()},
    )
