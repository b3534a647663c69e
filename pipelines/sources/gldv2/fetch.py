"""Fetch the files of GLDv2 into a mirror: a folder with the paths of the server.

A few large files at once, each resumed where it was interrupted and verified by its md5 before it
gets its name. Writes <mirror>/<path>, fetched.json (what is verified) and .lock.
"""

import asyncio
import contextlib
import fcntl
import logging
import re
import shutil
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from embed.errors import InputError

from .byte_progress import ByteProgress, byte_progress
from .catalog import BASE, RemoteFile
from .ledger import Ledger, hash_md5
from .transfer import (
    Patience,
    drop_part,
    fetch_part,
    finish_part,
    make_session,
    measure,
    part_bytes,
    part_of,
    read_text,
)

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

AT_ONCE = 4  # files; one connection to a distant server seldom fills the line
SPARE = 1 << 28  # bytes of the disk that stay free
_MD5 = re.compile(r"\b[0-9a-fA-F]{32}\b")


@dataclass(frozen=True)
class Mirror:
    """Where files come from and go to."""

    folder: Path
    base: str = BASE
    at_once: int = AT_ONCE
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Check the address."""
        if not re.match(r"https?://[^/]", self.base):
            raise InputError(f"--base {self.base!r} is no address like {BASE}")

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"{self.base.rstrip('/')}/{path}"


@dataclass
class _Fetch:
    """A fetch in progress."""

    mirror: Mirror
    session: aiohttp.ClientSession
    ledger: Ledger
    progress: ByteProgress
    waiting: deque[RemoteFile]
    failed: dict[str, str] = field(default_factory=dict)  # reason by path


def fetch_files(mirror: Mirror, files: Sequence[RemoteFile]) -> None:
    """Fetch those of the files that are not in the mirror yet, and verify all.

    What is there and verified is neither fetched nor read. A tar that came there in another way
    is verified once, and fetched again if it is not what its md5 says. A wrong md5 of a fetched
    file means that it is fetched a second time. Optional files that the server lacks are left out.

    Raises:
        FileNotFoundError: the server lacks a file.
        InputError: it cannot be reached. What has arrived is kept.
        InputError: the disk has no room for all; or, when all else is there, the md5 of a file
            was wrong twice.
        InputError: another process fetches into this mirror.
    """
    mirror.folder.mkdir(parents=True, exist_ok=True)
    with _locked(mirror.folder):
        asyncio.run(_fetch(mirror, files))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another process fetches into {folder}; wait for it") from error
        yield


async def _fetch(mirror: Mirror, files: Sequence[RemoteFile]) -> None:
    ledger = Ledger(mirror.folder)
    todo = [file for file in files if not _is_there(mirror.folder, file, ledger)]
    if not todo:
        return
    async with make_session(mirror.at_once, mirror.patience) as session:
        sizes = await _measure_all(mirror, session, todo)
        todo = [file for file in todo if file.path in sizes]
        rest = _check_space(mirror.folder, sizes)
        logger.info("fetching %s from %s", _describe(len(todo), rest), mirror.base)
        with byte_progress(len(todo), rest) as progress:
            work = _Fetch(mirror, session, ledger, progress, deque(todo))
            await _run_workers(work)
    if work.failed:
        path, reason = next(iter(work.failed.items()))
        raise InputError(
            f"{len(work.failed)} of {len(files)} files could not be fetched; {path}: {reason}"
        )


def find_missing(folder: Path, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Return those of the files that are not in a mirror, by their names alone."""
    return [file for file in files if not (folder / file.path).is_file()]


def _is_there(folder: Path, file: RemoteFile, ledger: Ledger) -> bool:
    # A table has no md5; it got its name when it was whole.
    return ledger.has(file.path) if file.md5_path else (folder / file.path).is_file()


def _describe(count: int, size: int) -> str:
    return f"{count} file{'s' * (count != 1)}, {size / 1e9:.2f} GB,"


async def _measure_all(
    mirror: Mirror, session: aiohttp.ClientSession, files: Sequence[RemoteFile]
) -> dict[str, int]:
    """Return how many bytes of each file are to come, without optional ones that are not there."""

    async def find_size(file: RemoteFile) -> int | None:
        target = mirror.folder / file.path
        if target.is_file():
            return 0  # to be verified
        try:
            size = await measure(session, mirror.url(file.path), mirror.patience)
        except FileNotFoundError as error:
            if not file.optional:
                raise
            logger.warning("goes on without %s: %s", file.path, error)
            return None
        return max((file.about if size is None else size) - part_bytes(target), 0)

    # The session opens at_once connections, so no more than that are asked at a time.
    sizes = await _gather([find_size(file) for file in files])
    return {file.path: size for file, size in zip(files, sizes, strict=True) if size is not None}


def _check_space(folder: Path, sizes: dict[str, int]) -> int:
    """Return the sum of the sizes. Raises InputError if the disk has not so much room."""
    rest, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if rest + SPARE > free:
        raise InputError(
            f"{_describe(len(sizes), rest)} do not go on the disk of {folder}, which has "
            f"{free / 1e9:.1f} GB free; take fewer, --tars 0-9, or a larger disk, --from FOLDER"
        )
    return rest


async def _run_workers(work: _Fetch) -> None:
    async def run() -> None:
        while work.waiting:
            file = work.waiting.popleft()
            try:
                await _bring(work, file)
                work.progress.finish(file.path)
            except (_WrongMd5Error, FileNotFoundError) as error:
                # One bad file of 500 does not keep the others; a lost connection does.
                logger.warning("%s: %s", file.path, error)
                work.failed[file.path] = str(error)

    await _gather([run() for _ in range(min(work.mirror.at_once, len(work.waiting)))])


class _WrongMd5Error(ValueError):
    """A file is not what its md5 says."""


async def _bring(work: _Fetch, file: RemoteFile) -> None:
    """Fetch one file and verify it, at most twice."""
    mirror, target = work.mirror, work.mirror.folder / file.path
    wanted = await _read_md5(work, file)
    if target.is_file() and wanted:
        if await asyncio.to_thread(hash_md5, target) == wanted:
            work.ledger.record(file.path, wanted)
            return
        logger.warning("%s is not what its md5 says; fetching it again", target)
    for attempt in (1, 2):
        url = mirror.url(file.path)
        await fetch_part(work.session, url, target, work.progress.advance, mirror.patience)
        found = await asyncio.to_thread(hash_md5, part_of(target)) if wanted else ""
        if found == wanted:
            finish_part(target)
            if wanted:
                work.ledger.record(file.path, wanted)
            return
        logger.warning("%s: md5 %s, expected %s (attempt %d)", url, found, wanted, attempt)
        work.progress.advance(-part_of(target).stat().st_size)
        drop_part(target)
    raise _WrongMd5Error(
        f"fetched twice, its md5 is {found}, not {wanted} as {file.md5_path} says; run the same "
        "command later, or name another server: --base"
    )


async def _gather(tasks: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Return what all tasks give; the first that fails stops the others."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in running]


async def _read_md5(work: _Fetch, file: RemoteFile) -> str:
    """Return the md5 that a file should have, or "" for a table."""
    if file.md5_path is None:
        return ""
    url = work.mirror.url(file.md5_path)
    text = await read_text(work.session, url, work.mirror.patience)
    found = _MD5.search(text)
    if not found:
        raise _WrongMd5Error(f"{url} holds no md5 but {text[:60]!r}; name another server: --base")
    return found[0].lower()
