"""Which known thing is in this photo, how sure, or none: a run as people use it from Python.

The command line, the pages and the server ask this class, and nothing beside it. Reads a run folder
and photos; `add` and `remove` write changes of its database.
"""

import operator
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeVar, overload

import numpy as np

from pipelines.answers.answer import Answer, Match
from pipelines.answers.opened_run import OpenedRun, PhotoComparison
from pipelines.answers.photo import ImageSource, Photo, is_image, list_images, save_photo
from pipelines.runs.job import Job, open_job
from rerank.hulls import Box

if TYPE_CHECKING:  # what changes a database is imported when it is asked for: it takes a while
    from pipelines.stages.add import Addition
    from pipelines.stages.remove import Removal

Result = TypeVar("Result")
TOGETHER = 16  # photos that are answered at a time: more are no faster, and take memory
TRIES = 10  # of asking while others put changes into one


def _check_whole(number: SupportsIndex, name: str) -> int:
    """Return a whole number, also one of numpy; raise TypeError for what is none."""
    try:
        if isinstance(number, bool | np.bool_):  # an int to Python, and a slip of whoever calls
            raise TypeError
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{name} is {number!r}; it is a whole number") from None


def _list(given: object) -> list[Any]:
    """Return several things as a list, and one, as a text is, as a list of it."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return [*given]
    return [given]


def _check_count(number: SupportsIndex, name: str, *, least: int) -> int:
    """Return a whole number that is not too small. Raises TypeError or ValueError."""
    count = _check_whole(number, name)
    if count < least:
        raise ValueError(f"{name} is {count}; it is {least} or more")
    return count


@dataclass(frozen=True)
class ListedLandmark:
    """A landmark that a database has photos of."""

    label: int
    name: str | None  # None where nobody named it
    photos: int
    image_id: str  # of the first of them


class Recognizer:
    """A run, opened to be asked; what is added to its database is known to the next question.

    Threads may share one: their questions are answered one after the other, each on all cores, so
    photos that are there together are best asked about together. Close it, or use it in a `with`
    block, to let go of index and features.
    """

    def __init__(self, opened: OpenedRun) -> None:
        """Take an opened run; see load."""
        self._opened: OpenedRun | None = opened
        self._asking = threading.Lock()  # held during a question
        self._following = threading.Lock()  # held while the run is replaced by what it is by now

    @classmethod
    def load(
        cls,
        run: str | os.PathLike[str],
        *,
        min_precision: float | None = None,
        engine: str = "",
        data: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Open a run.

        Args:
            run: run folder, as `cairn index` or `cairn submit` made it.
            min_precision: answers shall be right so often, in (0, 1); None for what the run was
                made with.
            engine: what describes photos, as `embed.engine` of recipes names it; empty for that of
                the run's recipe.
            data: dataset folder, of which photos of the database are shown; None for that of the
                run, which may be gone.

        Raises:
            MissingFileError: the run is not there, or not indexed.
            InputError: a file of it is damaged, or its parts do not belong together.
        """
        place = None if data is None else Path(data)
        return cls(OpenedRun.open(Path(run), min_precision, engine=engine, data=place))

    @property
    def opened(self) -> OpenedRun:
        """The run as it is by now.

        Raises:
            RuntimeError: it was closed.
        """
        with self._following:
            if self._opened is None:
                raise RuntimeError("this Recognizer was closed; load the run again")
            self._opened = self._opened.followed()
            return self._opened

    @overload  # a str is a sequence of str, too, and is one photo
    def recognize(  # type: ignore[overload-overlap]
        self, image: ImageSource, *, neighbors: SupportsIndex = 5, box: Box | None = None
    ) -> Answer: ...

    @overload
    def recognize(
        self, image: Sequence[ImageSource], *, neighbors: SupportsIndex = 5
    ) -> list[Answer]: ...

    def recognize(
        self,
        image: ImageSource | Sequence[ImageSource],
        *,
        neighbors: SupportsIndex = 5,
        box: Box | None = None,
    ) -> Answer | list[Answer]:
        """Say which landmark is in a photo, or in each of several.

        A photo that cannot be read is an answer with an `error`. All answers of one call know the
        same database, with all of each change that came before, or none.

        Args:
            image: path, bytes, Pillow image, array [H, W, 3] uint8 RGB, or a Photo, which has a
                name; or a list of these.
            neighbors: how many database photos come with each answer: those of the landmark, the
                strongest first, and the strongest of another last.
            box: left, top, right, bottom of the part of a single photo that is meant, in pixels of
                the upright original.

        Raises:
            InputError: a file of the run is damaged.
            TypeError: what is given is no image, no box, or no whole number.
            ValueError: an array is of another shape or type, the box holds no pixel, or `neighbors`
                is below 0.
        """
        neighbors = _check_count(neighbors, "neighbors", least=0)
        if is_image(image):
            (answer,) = self._answer([Photo.of(image, box=box)], neighbors)
            return answer
        if box is not None:
            raise TypeError("a box is of a single photo; give several as Photo.of(photo, box=...)")
        return self._answer([Photo.of(each) for each in list_images(image)], neighbors)

    def neighbors(self, image: ImageSource, k: SupportsIndex = 10) -> list[Match]:
        """Return the k nearest database photos by descriptors alone, the nearest first.

        Args:
            image: as recognize takes it.
            k: at least 1; fewer are returned where the database has fewer.

        Raises:
            ImageError: the photo cannot be read.
            TypeError: k is no whole number.
            ValueError: k is below 1.
        """
        k = _check_count(k, "k", least=1)
        photo = Photo.of(image)
        return self._ask(lambda opened: opened.find_neighbors(photo, k))

    def compare(self, image: ImageSource, image_id: str) -> PhotoComparison | None:
        """Say where a photo and a database photo show the same; None where nothing is compared.

        Raises:
            RequestError: the photo cannot be read.
            NotFoundError: the database has no such photo.
        """
        photo = Photo.of(image)
        return self._ask(lambda opened: opened.compare(photo, image_id))

    def landmarks(self) -> list[ListedLandmark]:
        """Return what the database has photos of, by label."""
        database = self.opened.retriever.database
        rows, names = database.rows, database.names
        labels = rows.landmarks
        counts = rows.class_sizes(labels)
        firsts = rows.ids(rows.by_landmark[np.cumsum(counts) - counts]).to_pylist()
        each = zip(labels.tolist(), counts.tolist(), firsts, strict=True)
        return [
            ListedLandmark(label, names.get(label), count, first) for label, count, first in each
        ]

    def add(
        self,
        images: ImageSource | Sequence[ImageSource],
        label: SupportsIndex | None = None,
        name: str | None = None,
    ) -> "Addition":
        """Add photos of one landmark to the database; nothing is trained.

        What the database has already, and what cannot be read, is left out and named in what is
        returned. The next question knows the others. Copies of the photos are kept in the run.

        Args:
            images: one, or a list, as recognize takes them; a path may be a folder of photos.
            label: of the landmark, which may be new, a whole number; None for that of the name, or
                the next free.
            name: of the landmark, kept on one line; a new one needs it.

        Raises:
            RequestError: label and name go with no landmark or with two, or no photo can be read.
            InputError: a file of the run is damaged.
            TypeError: there is neither, or the label is no whole number, or the name no text.
        """
        from pipelines.sources.new_photos import list_of_one
        from pipelines.stages.add import add_photos
        from pipelines.stages.compact import compact_if_many

        if label is None and name is None:
            raise TypeError("say what the photos show: a label, a name, or both")
        label = None if label is None else _check_whole(label, "label")
        if not isinstance(name, str | None):
            raise TypeError(f"name is {name!r}; it is a text, and a number is a label")
        job = self._job
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "photos")  # ids begin with its name
            place.mkdir()
            photos = [Photo.of(each) for each in list_images(images)]
            names = {save_photo(photo, place): photo.name for photo in photos}
            listed = list_of_one(list(names), label, name)
            listed = [replace(each, title=names.get(each.path, "")) for each in listed]
            added = add_photos(job, listed, "name=NAME")
        if added.change:
            compact_if_many(job)
        return added

    def remove(
        self,
        label: SupportsIndex | Iterable[SupportsIndex] = (),
        images: str | Iterable[str] = (),
    ) -> "Removal":
        """Remove photos from the database: all of some landmarks, and those of some ids.

        Raises:
            NotFoundError: the database has none of a landmark, or no such photo.
            RequestError: nothing would be left.
            InputError: a file of the run is damaged.
            TypeError: nothing is named, a label is no whole number, or an id no text.
        """
        from pipelines.stages.compact import compact_if_many
        from pipelines.stages.remove import remove_photos

        labels = [_check_whole(each, "label") for each in _list(label)]
        ids = _list(images)
        for each in ids:
            if not isinstance(each, str):
                raise TypeError(f"images has {each!r}; an id is a text, as a Match has it")
        if not (labels or ids):
            raise TypeError("say what goes: a label, or ids of images")
        job = self._job
        removed = remove_photos(job, labels, ids)
        compact_if_many(job)
        return removed

    def close(self) -> None:
        """Let go of index and features; whoever asks afterwards gets a RuntimeError.

        The networks that were opened last stay in memory, for the next one that loads the run.
        """
        with self._following:
            self._opened = None

    def __enter__(self) -> Self:
        """Return the recognizer, which is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @property
    def _job(self) -> Job:
        return open_job(self.opened.data, self.opened.run, None, None)

    def _answer(self, photos: list[Photo], neighbors: int) -> list[Answer]:
        def ask(opened: OpenedRun) -> list[Answer]:
            starts = range(0, len(photos), TOGETHER)
            parts = (opened.answer(photos[at : at + TOGETHER], neighbors) for at in starts)
            return [answer for part in parts for answer in part]

        return self._ask(ask)

    def _ask(self, question: Callable[[OpenedRun], Result]) -> Result:
        """Ask the run as it is by now, one question at a time."""
        with self._asking:
            for _ in range(TRIES):
                opened = self.opened
                try:
                    return question(opened)
                except FileNotFoundError:
                    if self.opened is opened:
                        raise
            return question(self.opened)  # changes were put into one each time
