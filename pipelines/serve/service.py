"""A recogniser behind a server: questions go through one thread, changes through another.

Knows no routes. Turns what goes wrong into refusals that name the remedy.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from embed.errors import InputError, NotFoundError, RequestError
from embed.files import is_disk_full
from embed.image_file import ImageFile
from pipelines.answers.answer import Answer
from pipelines.recognizer import ListedLandmark, Recognizer

from .batching import Batcher, Busy
from .metrics import ServeMetrics
from .options import ServeOptions
from .refusal import Refusal, busy
from .sizes import Upload
from .stored_photos import make_encoders

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
MOST_CHANGES = 16  # that wait to be made
FULL = "the queue is full"
FULL_DISK = (
    "the disk of the server is full; send it again when whoever runs it has freed some space"
)
THERE = "GET /v1/landmarks lists all landmarks, and POST /v1/neighbors finds photos"
PHOTOS = "POST /v1/neighbors finds photos that are there"
GONE = (
    "the server cannot read or write its run; whoever runs it finds the reason in its log, and "
    "restarts it when that is mended"
)


class Service:
    """Asks and changes a run for a server; all of it raises Refusal, or InputError of the run."""

    def __init__(self, recognizer: Recognizer, options: ServeOptions) -> None:
        """Start the threads; `stop` ends them."""
        self.recognizer, self.options = recognizer, options
        self.metrics = ServeMetrics(lambda: self._batcher.waiting)
        self._batcher = Batcher(
            recognizer, options.queue, options.longest_wait, self.metrics.observe_batch
        )
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="changes")
        self._changing = 0  # changes that wait or are being made
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="photos")
        opened = recognizer.opened
        self.run_name = opened.run.resolve().name
        self.max_pixels = min(opened.recipe.decode.max_pixels, options.max_pixels)
        self._encoders = make_encoders(opened.recipe.decode.max_pixels)

    async def recognize(self, uploads: Sequence[Upload], neighbors: int) -> list[Answer]:
        """Answer photos. Raises Refusal."""
        try:
            futures = self._batcher.recognize(uploads, neighbors)
        except Busy as error:
            raise busy(FULL) from error
        answers = await self._wait(futures)
        self.metrics.observe_answers(answers)
        return answers

    async def ask(self, question: Callable[[Recognizer], Result], pixels: int = 0) -> Result:
        """Ask anything else, maybe about a photo of so many pixels. Raises Refusal."""
        try:
            future = self._batcher.ask(question, pixels)
        except Busy as error:
            raise busy(FULL) from error
        result: Result = (await self._wait([future]))[0]
        return result

    async def change(self, make: Callable[[Recognizer], Result]) -> Result:
        """Change the database, beside questions; what came is done. Raises Refusal."""
        if self._changing >= MOST_CHANGES:
            raise busy("too many changes wait")
        self._changing += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._changes, make, self.recognizer)
        except OSError as error:
            if is_disk_full(error):
                raise Refusal(507, FULL_DISK) from error
            raise
        finally:
            self._changing -= 1

    async def read_photo(self, image_id: str, size: str) -> bytes:
        """Return a database photo as JPEG. Raises Refusal."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read_photo, image_id, size)

    async def list_landmarks(self) -> list[ListedLandmark]:
        """Return the landmarks of the database, by label."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.recognizer.landmarks)

    def stop(self) -> None:
        """Answer what waits, make the changes that wait, and end the threads."""
        self._batcher.stop()
        self._changes.shutdown()
        self._readers.shutdown()

    def _read_photo(self, image_id: str, size: str) -> bytes:
        opened = self.recognizer.opened
        if opened.retriever.database.rows.row_of(image_id) < 0:
            raise Refusal(404, f"the database has no such photo; {PHOTOS}")
        try:
            place: ImageFile = opened.locate(image_id)
            return self._encoders[size](place)
        except InputError as error:
            logger.warning("%s", error)  # which names files, and options of commands
            raise Refusal(404, f"the file of this photo is gone or damaged; {PHOTOS}") from error

    async def _wait(self, futures: Sequence[Future[Any]]) -> list[Any]:
        """Wait for answers; what is not begun in time is not asked any more."""
        limit = self.options.time_limit
        try:
            async with asyncio.timeout(limit):
                return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        except TimeoutError as error:
            raise Refusal(
                503, f"no answer within {limit:g} s; ask again later", {"Retry-After": "5"}
            ) from error


def refuse(error: InputError) -> Refusal:
    """Return what tells of an error: the log alone of those that whoever asks cannot mend."""
    if not isinstance(error, RequestError):
        logger.error("%s", error)
        return Refusal(503, GONE)
    if isinstance(error, NotFoundError):
        return Refusal(404, f"{error}; {THERE}")
    return Refusal(422, "\n".join(error.lines))
