"""Fetch one large file over HTTP, and go on where an interrupted transfer ended.

Writes <file>.part beside the file to be, and <file>.part.json with what the server calls this
version of it (ETag or Last-Modified): the rest of another version is never joined to it. Does not
know checksums, nor which files there are.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import aiohttp

from embed.errors import InputError, MissingFileError
from pipelines.artifacts import write_json

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

Advance = Callable[[int], None]  # called with bytes that arrived, or (negative) that do not count
CHUNK = 1 << 20  # bytes
_FINAL = (400, 401, 403, 404, 405, 410)  # to fetch again would give the same
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


@dataclass(frozen=True)
class Patience:
    """How long to go on trying."""

    attempts: int = 6  # in a row that bring nothing
    first_wait: float = 1.0  # seconds, doubled after each of them
    silence: float = 60.0  # seconds without a byte after which a connection counts as cut


class _CutError(ConnectionError):
    """The transfer ended early; the next attempt may go on."""


def make_session(at_once: int, patience: Patience) -> aiohttp.ClientSession:
    """Return a session for files of any length: only silence ends a connection."""
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=patience.silence, sock_read=patience.silence
    )
    return aiohttp.ClientSession(
        timeout=timeout,
        connector=aiohttp.TCPConnector(limit=at_once),
        headers={"Accept-Encoding": "identity"},  # bytes as they are: Range counts those
        auto_decompress=False,
        trust_env=True,  # the proxy that the environment names
    )


async def measure(session: aiohttp.ClientSession, url: str, patience: Patience) -> int | None:
    """Return how many bytes a file has, or None if the server does not say.

    Raises:
        MissingFileError: the server has no such file, or does not give it.
        InputError: it cannot be reached.
    """

    async def fetch() -> int | None:
        async with session.head(url, allow_redirects=True) as response:
            if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
                return None
            _check_status(response)
            # Of the header: aiohttp's content_length is that of the body, which HEAD has not.
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdecimal() else None

    return await _persist(fetch, url, lambda: 0, patience)


async def read_text(session: aiohttp.ClientSession, url: str, patience: Patience) -> str:
    """Return the content of a small text file. Raises as measure."""

    async def fetch() -> str:
        async with session.get(url) as response:
            _check_status(response)
            return (await response.content.read(1 << 16)).decode("utf-8", "replace")

    return await _persist(fetch, url, lambda: 0, patience)


def part_of(target: Path) -> Path:
    """Return where the bytes of an unfinished file are."""
    return target.with_name(f"{target.name}.part")


def part_bytes(target: Path) -> int:
    """Return how many bytes of an unfinished file are there to go on from."""
    part = part_of(target)
    return part.stat().st_size if part.is_file() and _read_version(part) else 0


def drop_part(target: Path) -> None:
    """Forget an unfinished file."""
    for path in (part_of(target), _version_file(part_of(target))):
        path.unlink(missing_ok=True)


def finish_part(target: Path) -> None:
    """Give a file that is whole its name."""
    part_of(target).replace(target)
    drop_part(target)


async def fetch_part(
    session: aiohttp.ClientSession, url: str, target: Path, advance: Advance, patience: Patience
) -> None:
    """Fetch what is missing of a file, until <target>.part is whole.

    Only as many attempts in a row may fail as bring no byte. Bytes that were there before and
    that do not count any more, because the server has another version or cannot give a part of
    a file, are taken back from advance.

    Raises:
        MissingFileError: the server has no such file, or does not give it.
        InputError: it cannot be reached, or gives up on the file again and again.
    """
    part = part_of(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    if not part_bytes(target):
        drop_part(target)  # of a version that nobody knows

    def count() -> int:
        return part.stat().st_size if part.is_file() else 0

    await _persist(lambda: _fetch_rest(session, url, part, advance), url, count, patience)


async def _fetch_rest(
    session: aiohttp.ClientSession, url: str, part: Path, advance: Advance
) -> None:
    version = _read_version(part)
    start = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={start}-", "If-Range": version} if start and version else {}
    async with session.get(url, headers=headers) as response:
        if headers and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _range_total(response, None) == start:
                return  # interrupted after the last byte
            _empty(part, advance)
            raise _CutError(f"the server has less than the {start} bytes that are here")
        _check_status(response)
        total: int | None = None
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            total = _range_total(response, start)
        else:
            _empty(part, advance)
            total = response.content_length
            _write_version(part, response)  # after the bytes of the old version are gone
        with part.open("ab") as file:
            async for chunk in response.content.iter_chunked(CHUNK):
                file.write(chunk)
                advance(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise _CutError(f"{part.stat().st_size} of {total} bytes arrived")


def _empty(part: Path, advance: Advance) -> None:
    if part.is_file():
        advance(-part.stat().st_size)
    part.write_bytes(b"")


def _range_total(response: aiohttp.ClientResponse, start: int | None) -> int:
    """Return the length of the whole file. Raises _CutError if the range is not that asked for."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not found or (found[1] is None) != (start is None) or (found[1] and int(found[1]) != start):
        got = response.headers.get("Content-Range")
        raise _CutError(f"asked for the bytes from {start}, got Content-Range {got!r}")
    return int(found[2])


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_version(part: Path) -> str | None:
    try:
        version = json.loads(_version_file(part).read_bytes())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing to go on from
    return version if isinstance(version, str) else None


def _write_version(part: Path, response: aiohttp.ClientResponse) -> None:
    tag = response.headers.get("ETag", "")
    # A weak tag names equal meanings, not equal bytes (RFC 9110, 13.1.5).
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    write_json({"version": version, "url": str(response.url)}, _version_file(part))


def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status in _FINAL:
        raise MissingFileError(
            f"{response.url} cannot be had: {response.status} {response.reason}; check the "
            "address, or name another server: --base"
        )
    if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise _CutError(f"the server answered {response.status} {response.reason}")
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise InputError(
            f"{response.url} comes compressed ({encoding}) though asked not to be; name another "
            "server: --base"
        )


async def _persist(
    attempt: Callable[[], Awaitable[Answer]],
    url: str,
    count: Callable[[], int],
    patience: Patience,
) -> Answer:
    """Return what an attempt gives, trying again while the connection fails.

    Raises:
        InputError: as many attempts in a row failed as patience has, and count grew no more.
    """
    failed, most = 0, count()
    while True:
        try:
            return await attempt()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            # More than ever before: a server that always starts again does not go on for ever.
            failed, most = (failed if count() <= most else 0) + 1, max(most, count())
            reason = str(error) or type(error).__name__  # a timeout has no text
            if failed >= patience.attempts:
                raise InputError(
                    f"{url} cannot be fetched: {reason}, {failed} times in a row; check the "
                    "connection and run the same command: it goes on from here"
                ) from error
            wait = patience.first_wait * 2 ** (failed - 1)
            logger.warning("%s: %s; trying again in %.0f s", url, reason, wait)
        await asyncio.sleep(wait)
