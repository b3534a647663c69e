"""Run a download: ask for images, store them or put them off, and record what failed.

One event loop asks; threads decode and write, so that it never waits for them. An image holds one
of the connections until it is stored: no more than that many are in memory at one time.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from random import SystemRandom

import aiohttp
import cv2
import pyarrow as pa

from embed.decode import ImageError

from .addresses import is_public
from .delays import backoff
from .failures import FetchError
from .fetch import fetch, open_session
from .hosts import HostQueue, Request
from .journal import Journal
from .progress import Tally, showing
from .rows import find_hosts
from .settings import DownloadSettings
from .store import ImageStore

WRITERS = 2  # threads beyond one a core: some wait for the disk


def run_downloads(
    rows: pa.Table, store: ImageStore, journal: Journal, tally: Tally, settings: DownloadSettings
) -> dict[str, str]:
    """Fetch and store all images of rows, id and url; each url has a host.

    Returns:
        By name the hosts that were given up, and why. What is left of such a host is neither
        stored nor in the journal, so that the next run asks again.

    Raises:
        OSError: an image cannot be written, because the disk is full, say.
    """
    hosts = find_hosts(rows["url"]).dictionary_encode().unify_dictionaries().combine_chunks()
    # No seed: machines that fetch at the same time must not wait for the same times. What is
    # stored does not depend on it.
    queue = HostQueue(hosts.indices.to_numpy(), settings, SystemRandom())
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # there are threads enough
    try:
        asyncio.run(
            _Download(
                rows, queue, store=store, journal=journal, tally=tally, settings=settings
            ).run()
        )
    finally:
        cv2.setNumThreads(threads)
    return {hosts.dictionary[code].as_py(): why for code, why in queue.given_up.items()}


class _Download:
    """The state of one run."""

    def __init__(
        self,
        rows: pa.Table,
        queue: HostQueue,
        *,
        store: ImageStore,
        journal: Journal,
        tally: Tally,
        settings: DownloadSettings,
    ) -> None:
        self._ids, self._urls = rows["id"], rows["url"]
        self._queue, self._store, self._journal = queue, store, journal
        self._tally, self._settings = tally, settings
        self._rng = SystemRandom()
        self._running = 0  # images asked for and not yet stored or put off
        self._session: aiohttp.ClientSession
        self._pool: ThreadPoolExecutor

    async def run(self) -> None:
        """Return when every image is stored, failed or given up."""
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        is_allowed = (lambda address: True) if self._settings.allow_private else is_public
        try:
            with ThreadPoolExecutor((os.cpu_count() or 1) + WRITERS) as self._pool:
                async with open_session(self._settings, is_allowed) as self._session:
                    async with showing(self._tally), asyncio.TaskGroup() as group:
                        await self._start_all(group)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _start_all(self, group: asyncio.TaskGroup) -> None:
        queue = self._queue
        while queue.left:
            while self._running < self._settings.connections:
                request = queue.take(self._loop.time())
                if request is None:
                    break
                self._running += 1
                group.create_task(self._do(request))
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait until an image is done with or, if more can be asked for, one put off is due."""
        due = self._queue.next_due() if self._running < self._settings.connections else None
        assert self._running or due is not None, "images are left and none is due"
        timer = None if due is None else self._loop.call_at(due, self._changed.set)
        await self._changed.wait()
        self._changed.clear()
        if timer:
            timer.cancel()

    async def _do(self, request: Request) -> None:
        try:
            await self._try(request)
            self._queue.finish()
            self._tally.stored += 1
        except FetchError as error:
            self._fail(request, error)
        finally:
            self._running -= 1
            self._changed.set()

    async def _try(self, request: Request) -> None:
        """Ask for an image once and store it. Raises FetchError."""
        request.tries += 1
        try:
            data = await fetch(self._session, self._urls[request.row].as_py(), self._settings)
            self._queue.note_answer(request, self._loop.time())
        except FetchError as error:
            self._note_failure(request, error)
            raise
        finally:
            self._queue.release(request, self._loop.time())
        image_id = self._ids[request.row].as_py()
        try:
            await self._loop.run_in_executor(self._pool, self._store.store, image_id, data)
        except ImageError as error:
            raise FetchError(error.reason, error.found) from error

    def _note_failure(self, request: Request, error: FetchError) -> None:
        """Let the host have what it asks for, or what a host in trouble gets."""
        queue, now = self._queue, self._loop.time()
        if error.slows_host:
            queue.note_limit(request, self._delay(request, error), now)
        elif error.host_fails and not error.redirected:
            queue.note_trouble(request, str(error), now)
            if queue.abandoned:
                self._tally.failures["host_given_up"] = queue.abandoned
        else:
            queue.note_answer(request, now)

    def _fail(self, request: Request, error: FetchError) -> None:
        """Put an image off, or record that it failed for good."""
        if error.passes and request.tries < self._settings.max_tries:
            self._queue.put_off(request, self._delay(request, error), self._loop.time())
            return
        image_id, url = self._ids[request.row].as_py(), self._urls[request.row].as_py()
        self._journal.append(image_id, url, error, request.tries)
        self._tally.failures[error.reason] += 1
        self._queue.finish()

    def _delay(self, request: Request, error: FetchError) -> float:
        """Return seconds to wait: at least what the host asks for, within reason."""
        settings = self._settings
        delay = backoff(request.tries, settings.base_delay, settings.max_delay, self._rng)
        return max(delay, min(error.wait or 0.0, settings.max_delay))
