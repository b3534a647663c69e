"""Turn what was stored, and what failed, into the tables of a dataset.

Writes failures.parquet, download.json and the tables.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embed.errors import InputError
from embed.files import writing
from pipelines.artifacts import write_json
from pipelines.datasets.derive import write_rows
from pipelines.datasets.renewal import renewing

from .journal import SCHEMA, Journal
from .rows import REFUSALS, Tables, find_hosts
from .settings import DownloadSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadResult:
    """What came of a download, in rows of the tables."""

    requested: int
    stored: int
    failed: int
    reasons: dict[str, int]  # of the failures, the most frequent first

    def __str__(self) -> str:
        """Say how many, and why not the others."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        failed = f"; {self.failed} failed: {reasons}" if self.failed else ""
        return f"{self.stored} of {self.requested} images stored{failed}"


def list_wanted(tables: Tables) -> pa.Table:
    """Return id and url of each image that can be asked for, once; its first URL counts."""
    parts: list[pa.Table] = []
    for table in tables.values():
        rows = table.filter(pc.is_null(table["refusal"])).select(["id", "url"])
        for part in parts:
            rows = rows.filter(pc.invert(pc.is_in(rows["id"], part["id"])))
        parts.append(rows)
    return pa.concat_tables(parts)


def find_known(journal: Journal, wanted: pa.Table) -> pa.Table:
    """Return the failures of what is wanted; of an image whose URL was mended none is known."""
    failures = journal.read()
    return failures.filter(pc.is_in(_keys(failures), _keys(wanted)))


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["id"], rows["url"], "\n")


def explain_missing(
    tables: Tables, stored: pa.ChunkedArray, known: pa.Table, given_up: dict[str, str]
) -> pa.Table:
    """Return a row for each row of the tables without an image: why, in the order of the tables.

    Args:
        tables: all that was asked for.
        stored: ids of the images that are there.
        known: failures of the journal, the one that counts first.
        given_up: why, by name of the hosts that were given up.

    Returns:
        Columns split and those of SCHEMA.
    """
    parts = []
    for split, table in tables.items():
        rows = table.filter(pc.invert(_is_there(table, stored)))
        refused = {
            "reason": rows["refusal"],
            "message": _look_up(rows["refusal"], REFUSALS),
        }
        failed = known.take(pc.index_in(rows["id"], known["id"]))
        silent = _look_up(find_hosts(rows["url"]), given_up)
        abandoned = {
            "reason": pc.if_else(pc.is_valid(silent), "host_given_up", "gone"),
            "message": pc.coalesce(silent, pa.scalar("was stored, and is not there any more")),
        }
        columns = {
            "split": pa.array([split] * rows.num_rows, pa.string()),
            "id": rows["id"],
            "url": rows["url"],
            "status": failed["status"],
            **{
                name: pc.coalesce(refused[name], failed[name], abandoned[name])
                for name in ("reason", "message")
            },
            "tries": pc.fill_null(failed["tries"], 0),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts).cast(pa.schema([("split", pa.string()), *SCHEMA]))


def _look_up(keys: pa.ChunkedArray, values: dict[str, str]) -> pa.ChunkedArray:
    """Return the value of each key, null where there is none."""
    found = pc.index_in(keys, pa.array(list(values), pa.string()))
    return pc.take(pa.array(list(values.values()), pa.string()), found)


def _is_there(table: pa.Table, stored: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.and_(pc.is_null(table["refusal"]), pc.is_in(table["id"], stored))


def write_outcome(
    tables: Tables,
    stored: pa.ChunkedArray,
    failures: pa.Table,
    folder: Path,
    settings: DownloadSettings,
) -> DownloadResult:
    """Write the tables and the counts.

    Raises:
        InputError: no image of train is there.
    """
    with writing(folder / "failures.parquet") as temporary:
        pq.write_table(failures, temporary)
    requested = sum(table.num_rows for table in tables.values())
    counts = pc.value_counts(failures["reason"]).to_pylist()
    reasons = {
        count["values"]: count["counts"] for count in sorted(counts, key=lambda c: -c["counts"])
    }
    done = DownloadResult(requested, requested - failures.num_rows, failures.num_rows, reasons)
    kept = {split: _keep(split, table, stored) for split, table in tables.items()}
    record = {
        "requested": done.requested,
        "stored": done.stored,
        "failed": done.failed,
        "reasons": reasons,
        "rows": {split: rows.num_rows for split, rows in kept.items()},
        "settings": settings.model_dump(),
    }
    write_json(record, folder / "download.json")
    if not kept["train"].num_rows:
        raise InputError(f"{folder} got no training image: {done}; failures.parquet says more")
    splits = ("index", "test", "non_landmark", "train")
    with renewing(folder, splits) as renewal:
        for split in splits:
            rows = kept.get(split)
            write_rows(rows if rows else None, renewal.waiting / split)
    return done


def _keep(split: str, table: pa.Table, stored: pa.ChunkedArray) -> pa.Table:
    """Return the rows that a dataset needs: those with an image; of the test all."""
    if split == "test":
        return table.select(["id", "url"])
    labels = [] if split == "non_landmark" else ["landmark_id"]
    return table.filter(_is_there(table, stored)).select(["id", *labels, "url"])
