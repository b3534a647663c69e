"""Answer many photos in small groups while the next ones are decoded; memory stays flat.

Knows no run: what decodes a photo and what answers a group are given.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from embed.decode import DecodedImage
from embed.errors import InputError
from embed.parallel import count_cores

from .answer import Answer
from .named_photos import NamedPhoto
from .photo import Photo

TOGETHER = 16  # photos that are answered at a time; the first groups are smaller, to be there soon
AHEAD = 2 * TOGETHER  # photos that are decoded, or being decoded, beyond those being answered
HELD = 192 << 20  # bytes of pixels above which no other photo is decoded
GROUP = HELD // 2  # bytes of pixels above which a group is answered as it is

Prepare = Callable[[NamedPhoto], Photo]
Recognize = Callable[[list[Photo]], list[Answer]]


class _Held:
    """The bytes of pixels that are held: who would decode more waits until there are fewer."""

    def __init__(self) -> None:
        self.total, self.wanted, self.closed = 0, -1, False
        self.changed = threading.Condition()

    def wait(self, number: int) -> None:
        """Wait until photo `number` may be decoded: the one that is asked for always may."""
        with self.changed:
            self.changed.wait_for(lambda: self.total < HELD or number <= self.wanted or self.closed)

    def add(self, count: int) -> None:
        with self.changed:
            self.total += count
            self.changed.notify_all()

    def want(self, number: int) -> None:
        with self.changed:
            self.wanted = number
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def stream_answers(
    named: Sequence[NamedPhoto], prepare: Prepare, recognize: Recognize, *, threads: int = 0
) -> Iterator[Answer]:
    """Yield the answer to each photo, in order; one that cannot be had is an answer with an error.

    Args:
        named: the photos.
        prepare: opens and decodes one, in a thread; raises InputError where it cannot.
        recognize: answers up to TOGETHER decoded photos.
        threads: that prepare photos; 0 for as many as there are cores.
    """
    held = _Held()

    def make(number: int, each: NamedPhoto) -> Photo | Answer:
        held.wait(number)
        try:
            photo = prepare(each)
        except InputError as error:
            return Answer(str(each), error=str(error))
        held.add(_count_bytes(photo))
        return photo

    pool = ThreadPoolExecutor(threads or count_cores())
    waiting, pending, taken = iter(enumerate(named)), deque[Future[Photo | Answer]](), 0
    try:
        size = 1
        while True:
            group: list[Photo | Answer] = []
            total = 0
            while len(group) < size and total < GROUP:
                later = islice(waiting, AHEAD - len(pending))
                pending += [pool.submit(make, *each) for each in later]
                if not pending:
                    break
                held.want(taken)
                group.append(pending.popleft().result())
                taken, total = taken + 1, total + _count_bytes(group[-1])
            if not group:
                return
            yield from _answer(group, recognize)
            held.add(-total)
            size = min(2 * size, TOGETHER)
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)


def _count_bytes(made: Photo | Answer) -> int:
    """Return the bytes of pixels that are held of a photo."""
    source = made.source if isinstance(made, Photo) else None
    return source.pixels.nbytes if isinstance(source, DecodedImage) else 0


def _answer(group: Sequence[Photo | Answer], recognize: Recognize) -> Iterator[Answer]:
    """Yield the answers to a group, those that there are already in their places."""
    photos = [made for made in group if isinstance(made, Photo)]
    answers = iter(recognize(photos) if photos else ())
    for made in group:
        yield next(answers) if isinstance(made, Photo) else made
