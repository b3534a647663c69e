"""One thread asks the run: photos that wait are recognised together.

Knows no HTTP. Whoever asks gets a Future at once, or Busy.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from embed.allocator import give_back_memory
from pipelines.answers.answer import Answer
from pipelines.answers.photo import Photo
from pipelines.recognizer import TOGETHER, Recognizer

from .sizes import Upload

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
# Pixels of photos that are decoded together at full size, 3 bytes each: JPEGs are scaled down when
# they are read.
MOST_PIXELS = 64_000_000
LARGE = 16_000_000  # likewise; what more take is given back to the system when nothing waits
WEIGHT = 0.3  # of the last batch in the time that photos take


class Busy(Exception):
    """Too much waits already, or the server stops."""


@dataclass(eq=False)
class _Waiting:
    """A photo to recognise."""

    photo: Photo
    neighbors: int
    pixels: int  # that are in memory at once
    future: Future[Answer] = field(default_factory=Future)


@dataclass(eq=False)
class _Question:
    """Any other question."""

    ask: Callable[[Recognizer], Any]
    pixels: int = 0  # of its photo, if any
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """Asks a Recognizer in a thread of its own, in the order in which questions came.

    A question whose future is cancelled before it is begun leaves the queue.

    A photo is answered with up to 15 others that wait and want as many neighbours, so no photo
    waits for another that has not come yet.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        most_waiting: int,
        longest_wait: float,
        observe: Callable[[int], None],
    ) -> None:
        """Start the thread.

        Args:
            recognizer: to ask; no other thread asks it about photos.
            most_waiting: questions and photos, above which further ones are refused.
            longest_wait: seconds until an answer, likewise, by what photos took of late; where
                nothing waits, a question is accepted anyway.
            observe: called with the number of photos that are answered together.
        """
        self._recognizer, self._most_waiting = recognizer, most_waiting
        self._longest_wait, self._observe = longest_wait, observe
        self._asked = 0  # photos that are being answered
        self._pace = 0.0  # seconds a photo takes
        self._queue: deque[_Waiting | _Question] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="recognizer", daemon=True)
        self._thread.start()

    def recognize(self, uploads: Sequence[Upload], neighbors: int) -> list[Future[Answer]]:
        """Ask about photos. Raises Busy, and then none of them is asked about."""
        waiting = [_Waiting(each.photo, neighbors, each.pixels) for each in uploads]
        self._put(waiting)
        return [each.future for each in waiting]

    def ask(self, question: Callable[[Recognizer], Result], pixels: int = 0) -> "Future[Result]":
        """Ask anything else, maybe about a photo of so many pixels, as Upload counts them.

        The future raises what the question raises. Raises Busy.
        """
        asked = _Question(question, pixels)
        self._put([asked])
        return asked.future

    @property
    def waiting(self) -> int:
        """How many photos and questions wait."""
        return len(self._queue)

    def stop(self) -> None:
        """Answer what waits, refuse what comes, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _put(self, several: Sequence[_Waiting | _Question]) -> None:
        with self._changed:
            waiting = len(self._queue) + len(several)
            wait = self._pace * (self._asked + waiting)
            too_long = bool(self._queue) and wait > self._longest_wait
            if self._stopping or waiting > self._most_waiting or too_long:
                raise Busy
            self._queue.extend(several)
            self._changed.notify()
        for each in several:
            each.future.add_done_callback(partial(self._drop, each))

    def _drop(self, asked: _Waiting | _Question, future: Future[Any]) -> None:
        """Take what nobody waits for any more out of the queue, and free its photo."""
        if future.cancelled():
            with self._changed, contextlib.suppress(ValueError):  # it was taken just now
                self._queue.remove(asked)

    def _work(self) -> None:
        large = False  # whether memory is to be given back
        while batch := self._take():
            first, started = batch[0], time.perf_counter()
            self._asked = len(batch)
            if isinstance(first, _Question):
                self._settle(first)
            else:
                self._answer([each for each in batch if isinstance(each, _Waiting)])
            took = (time.perf_counter() - started) / len(batch)
            self._pace = WEIGHT * took + (1 - WEIGHT) * (self._pace or took)
            self._asked = 0
            large = large or sum(each.pixels for each in batch) > LARGE
            if large and not self._queue:
                give_back_memory()
                large = False

    def _take(self) -> list[_Waiting | _Question]:
        """Wait for questions and take what is asked together; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            if not self._queue:
                return []
            first = self._queue.popleft()
            if isinstance(first, _Question):
                return [first]
            batch, left = [first], deque[_Waiting | _Question]()
            pixels = first.pixels
            for each in self._queue:
                fits = (
                    isinstance(each, _Waiting)
                    and len(batch) < TOGETHER
                    and each.neighbors == first.neighbors
                    and pixels + each.pixels <= MOST_PIXELS
                )
                if fits:
                    assert isinstance(each, _Waiting)
                    batch.append(each)
                    pixels += each.pixels
                else:
                    left.append(each)
            self._queue = left
            return list(batch)

    def _answer(self, batch: list[_Waiting]) -> None:
        wanted = [each for each in batch if each.future.set_running_or_notify_cancel()]
        if not wanted:
            return
        self._observe(len(wanted))
        photos, neighbors = [each.photo for each in wanted], wanted[0].neighbors
        try:
            answers = self._recognizer.recognize(photos, neighbors=neighbors)
        except Exception as error:
            if len(wanted) == 1:
                wanted[0].future.set_exception(error)
                return
            logger.warning("%d photos are asked about one by one, after: %s", len(wanted), error)
            for each in wanted:  # one photo's fault is no other's
                self._settle(_Question(_recognize(each), future=each.future), begun=True)
            return
        for each, answer in zip(wanted, answers, strict=True):
            each.future.set_result(answer)

    def _settle(self, asked: _Question, *, begun: bool = False) -> None:
        if not begun and not asked.future.set_running_or_notify_cancel():
            return
        try:
            asked.future.set_result(asked.ask(self._recognizer))
        except Exception as error:
            asked.future.set_exception(error)


def _recognize(waiting: _Waiting) -> Callable[[Recognizer], Answer]:
    return lambda recognizer: recognizer.recognize(waiting.photo, neighbors=waiting.neighbors)
