"""Choose which image is asked for next: fair to all hosts, gentle with each.

Hosts take turns, so that a slow one holds up nobody, in whatever order the table is. A host
gets one request at first and one more for each answer, up to the limit; half as many after it
asked for fewer, and a pause. Hosts that have not answered yet, or not lately, share at most half
of all connections: the dead cannot take them all. Knows no network and no clock: it is told the
time. Of images not in flight it keeps numbers in arrays, not objects.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from .delays import backoff
from .settings import DownloadSettings

FIRST_LIMIT = 1  # requests at one time, before a host's first answer
SUSPECT_AFTER = 3  # troubles in a row: then one request at a time, with pauses
LONGEST_PAUSE = 10.0  # seconds, of a host that does not answer
MAX_WAITING = 1000  # images of a host that wait to be asked for again


@dataclass(slots=True)
class Request:
    """An image to be asked for."""

    row: int  # in the table of what is to be fetched
    host: int
    tries: int = 0  # up to now
    taken: float = 0.0  # when it was taken last
    probes: bool = False  # its host was not known to answer when it was taken


@dataclass(slots=True)
class _Host:
    """A host that was asked for something."""

    limit: int  # requests at one time, now
    ring: deque[int] | None  # that it is listed in: its turn will come
    running: int = 0
    proven: bool = False  # answered, and not in trouble since
    troubles: int = 0  # in a row: no answer, or one that never ends
    answered: float = float("-inf")  # when it answered last
    paused_until: float = 0.0
    waiting: int = 0  # images put off
    due: deque[Request] = field(default_factory=deque)  # images put off until now


class HostQueue:
    """All images that are still to be fetched."""

    def __init__(self, hosts: NDArray[np.int32], settings: DownloadSettings, rng: Random) -> None:
        """Take the host of each image: [N], numbered from 0, one number for each host.

        The images of a host are asked for in random order: where tables are sorted, a bad album
        would look like a bad host.
        """
        shuffled = np.random.default_rng(rng.getrandbits(32)).random(len(hosts), dtype=np.float32)
        self._order = np.lexsort((shuffled, hosts))  # [N], the rows of each host together
        counts = np.bincount(hosts) if len(hosts) else np.zeros(0, dtype=np.int64)
        self._end = np.cumsum(counts)  # in _order, of each host
        self._next = self._end - counts
        self._settings, self._rng = settings, rng
        self._hosts: dict[int, _Host] = {}  # those asked for something
        self._unproven, self._proven = deque(range(len(counts))), deque[int]()
        self._probing = 0  # requests to unproven hosts
        self._timers: list[tuple[float, int, int, Request | None]] = []  # when, number, host, image
        self._timed = 0  # numbers given: timers of the same moment keep their order
        self.left = len(hosts)  # images neither finished nor abandoned
        self.abandoned = 0  # images of hosts that were given up
        self.given_up: dict[int, str] = {}  # why, of each such host

    def take(self, now: float) -> Request | None:
        """Return an image to ask for now, or None: nothing is left, or all must wait."""
        self._wake(now)
        if self._probing < max(1, self._settings.connections // 2):
            request = self._take_from(self._unproven, now)
            if request:
                return request
        return self._take_from(self._proven, now)

    def next_due(self) -> float | None:
        """Return when something that waits may be asked for."""
        return self._timers[0][0] if self._timers else None

    def release(self, request: Request, now: float) -> None:
        """Count a request as ended, whatever came of it."""
        self._hosts[request.host].running -= 1
        self._probing -= request.probes
        self._offer(request.host, now)

    def finish(self) -> None:
        """Count an image as stored, or failed for good."""
        self.left -= 1

    def put_off(self, request: Request, delay: float, now: float) -> None:
        """Ask for an image again after so many seconds."""
        if request.host in self.given_up:
            self._abandon(1)
            return
        self._hosts[request.host].waiting += 1
        self._set_timer(now + delay, request.host, request)

    def note_answer(self, request: Request, now: float) -> None:
        """A host answered: it may be asked for one more at a time."""
        host = self._prove(request.host, now)
        host.limit = min(host.limit + 1, self._settings.per_host)

    def note_trouble(self, request: Request, message: str, now: float) -> None:
        """A host did not answer, or did not end: after a few times it gets pauses, then nothing.

        Only the first try of an image counts, and only where the host answered nothing since:
        else the host is well and the image is not. What takes long ends last, and what fails is
        asked for again: both would look like trouble in a row.
        """
        host, settings = self._hosts[request.host], self._settings
        if request.tries > 1 or request.taken <= host.answered:
            return
        host.troubles += 1
        if host.troubles >= settings.host_failures:
            self._give_up(request.host, message)
        elif host.troubles >= SUSPECT_AFTER:
            host.limit, host.proven = 1, False
            tries = host.troubles - SUSPECT_AFTER + 1
            delay = backoff(tries, settings.base_delay, LONGEST_PAUSE, self._rng)
            self._pause(request.host, now + delay)

    def note_limit(self, request: Request, wait: float, now: float) -> None:
        """A host asks for fewer requests, and for none at all for so many seconds."""
        host = self._prove(request.host, now)
        host.limit = max(1, host.limit // 2)
        self._pause(request.host, now + wait)

    def _prove(self, code: int, now: float) -> _Host:
        host = self._hosts[code]
        host.answered, host.proven, host.troubles = now, True, 0
        if host.ring is self._unproven:  # where the dead may hold everything up
            host.ring = self._proven
            host.ring.append(code)
        return host

    def _take_from(self, ring: deque[int], now: float) -> Request | None:
        while ring:
            code = ring.popleft()
            host = self._hosts.get(code)
            if host is None:
                host = _Host(FIRST_LIMIT, ring)
                self._hosts[code] = host
            if host.ring is not ring:  # moved to the other one
                continue
            host.ring = None
            if self._may_start(code, host, now):
                request = self._next_request(code, host)
                request.taken = now
                self._offer(code, now)  # behind the others
                return request
        return None

    def _may_start(self, code: int, host: _Host, now: float) -> bool:
        if code in self.given_up or host.running >= host.limit or host.paused_until > now:
            return False
        return bool(host.due) or self._has_fresh(code, host)

    def _has_fresh(self, code: int, host: _Host) -> bool:
        return bool(self._next[code] < self._end[code]) and host.waiting < MAX_WAITING

    def _next_request(self, code: int, host: _Host) -> Request:
        # A host in trouble is probed with other images, or those put off would use up their tries.
        if host.due and (host.proven or not self._has_fresh(code, host)):
            request = host.due.popleft()
        else:
            request = Request(int(self._order[self._next[code]]), code)
            self._next[code] += 1
        request.probes = not host.proven
        host.running += 1
        self._probing += request.probes
        return request

    def _offer(self, code: int, now: float) -> None:
        """Put a host into a ring if it can be asked for something, and is in none."""
        host = self._hosts[code]
        if host.ring is None and self._may_start(code, host, now):
            host.ring = self._proven if host.proven else self._unproven
            host.ring.append(code)

    def _pause(self, code: int, until: float) -> None:
        host = self._hosts[code]
        if until > host.paused_until:
            host.paused_until = until
            self._set_timer(until, code, None)

    def _set_timer(self, when: float, code: int, request: Request | None) -> None:
        self._timed += 1
        heapq.heappush(self._timers, (when, self._timed, code, request))

    def _wake(self, now: float) -> None:
        """Offer the hosts whose pauses are over, or that have images put off until now."""
        while self._timers and self._timers[0][0] <= now:
            _, _, code, request = heapq.heappop(self._timers)
            host = self._hosts[code]
            if request is not None and code not in self.given_up:
                host.waiting -= 1
                host.due.append(request)
            self._offer(code, now)

    def _give_up(self, code: int, message: str) -> None:
        """Drop all images of a host that are not being asked for right now."""
        host = self._hosts[code]
        if code not in self.given_up:
            self.given_up[code] = message
            self._abandon(int(self._end[code] - self._next[code]) + len(host.due) + host.waiting)
            self._next[code] = self._end[code]
            host.due.clear()
            host.waiting = 0

    def _abandon(self, images: int) -> None:
        self.left -= images
        self.abandoned += images
