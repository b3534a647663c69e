"""Build the index of a dataset's tars, or bring it up to date.

Reads the headers of the tars below a folder images/, of those that are new or changed; writes
images/tars.parquet (tar_index). Opens no image.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embed.errors import InputError
from pipelines.progress import Advance, progress_bar

from .index import INDEX_NAME, SCHEMA, differs, read_index, state_of, write_index
from .scan import TarMembers, find_tars, scan_tar

logger = logging.getLogger(__name__)

THREADS = 8  # read at once: waiting for the disk is most of it when the tars are not in memory
BATCH = 64  # tars; the unit of resuming


@dataclass(frozen=True)
class TarReport:
    """What an index was built of."""

    images: int = 0
    tars: int = 0
    scanned: int = 0  # tars that were new or changed
    repeated: int = 0  # images whose id an earlier one has, by the order of the tars
    ignored: Mapping[str, int] = field(default_factory=dict)  # members that are no images
    damaged: Mapping[str, str] = field(default_factory=dict)  # reason by tar; nothing of it counts


def build_tar_index(images: Path) -> TarReport:
    """Write images/tars.parquet of all tars below a folder; without tars delete it.

    A tar whose size and time are recorded is not read again; an interrupted build goes on after
    its last whole batch of tars. A damaged or compressed tar is left out with all that is in it,
    logged, and tried again the next time.
    """
    path = images / INDEX_NAME
    names = find_tars(images)
    if not names:
        path.unlink(missing_ok=True)
        return TarReport()
    states, damaged = _read_states(images, names)
    table, written = _read_known(path)
    notes = {name: n for name, n in written.items() if not differs(states.get(name), n)}
    fresh = [name for name in states if name not in notes]
    if notes != written or not path.is_file():
        table = _sort_rows([_keep_tars(table, notes)])
        write_index(table, notes, path)
    with progress_bar("read tars", len(fresh)) as advance:
        for start in range(0, len(fresh), BATCH):
            scanned, refused = _scan_all(images, fresh[start : start + BATCH], advance)
            damaged |= refused
            notes |= {n: {**states[n], "ignored": dict(m.ignored)} for n, m in scanned.items()}
            table = _sort_rows([table, *_tables(scanned)])
            write_index(table, notes, path)
    report = TarReport(
        table.num_rows, len(notes), len(fresh), _count_repeated(table), _sum(notes), damaged
    )
    _log(report)
    return report


def _read_states(
    images: Path, names: Iterable[str]
) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return the state of each tar, and why it has none for each that cannot be read."""
    states, unreadable = {}, {}
    for name in names:
        try:
            states[name] = state_of(images / name)
        except OSError as error:  # a link that leads nowhere
            unreadable[name] = f"cannot be read: {error.strerror}"
    return states, unreadable


def _scan_all(
    images: Path, names: Sequence[str], advance: Advance
) -> tuple[dict[str, TarMembers], dict[str, str]]:
    """Return the members of each tar, and why it has none for each that cannot be used."""
    scanned: dict[str, TarMembers] = {}
    damaged: dict[str, str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = {name: pool.submit(scan_tar, images / name) for name in names}
        try:
            for name, future in waiting.items():
                try:
                    scanned[name] = future.result()
                except (InputError, OSError) as error:
                    damaged[name] = str(error)
                advance(1)
        except BaseException:  # who interrupts does not wait for the other tars
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return scanned, damaged


def _tables(scanned: Mapping[str, TarMembers]) -> list[pa.Table]:
    tables = []
    for name, members in scanned.items():
        rows = np.zeros(len(members.ids), dtype=np.int32)
        columns = {
            "id": pa.array(members.ids, pa.string()),
            "tar": pa.DictionaryArray.from_arrays(rows, pa.array([name], pa.string())),
            "offset": members.offsets,
            "size": members.sizes,
        }
        tables.append(pa.table(columns, schema=SCHEMA))
    return tables


def _keep_tars(table: pa.Table, names: Iterable[str]) -> pa.Table:
    kept = pc.is_in(table["tar"].cast(pa.string()), value_set=pa.array(names, pa.string()))
    return table.filter(kept)


def _sort_rows(tables: Sequence[pa.Table]) -> pa.Table:
    """Sort by id; images of one id by tar and place in it, so that the first is always the same."""
    texts = [table.set_column(1, "tar", table["tar"].cast(pa.string())) for table in tables]
    table = pa.concat_tables(texts).combine_chunks()
    order = [(name, "ascending") for name in ("id", "tar", "offset")]
    table = table.take(pc.sort_indices(table, sort_keys=order))
    # Encoded anew, the same rows give the same file, whenever each tar was read.
    return table.set_column(1, "tar", table["tar"].dictionary_encode()).cast(SCHEMA)


def _count_repeated(table: pa.Table) -> int:
    ids = table["id"]
    return int(pc.sum(pc.equal(ids[1:], ids[: max(len(ids) - 1, 0)])).as_py() or 0)


def _sum(notes: Mapping[str, dict[str, Any]]) -> Counter[str]:
    return sum((Counter(note["ignored"]) for note in notes.values()), Counter[str]())


def _log(report: TarReport) -> None:
    for name, reason in report.damaged.items():
        logger.warning("left out all images of %s: it %s", name, reason)
    if report.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.ignored.items()))
        logger.warning("the tars also hold what is no image and left out: %s", kinds)
    if report.repeated:
        logger.warning("%d images repeat the id of another; the first is used", report.repeated)


def _read_known(path: Path) -> tuple[pa.Table, dict[str, dict[str, Any]]]:
    """Return what is in an index, or nothing if there is none that can be used."""
    try:
        return read_index(path)
    except (FileNotFoundError, InputError):
        return SCHEMA.empty_table(), {}
