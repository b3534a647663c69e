"""Ask a run about the photos of a command line, and give the answers out as they come.

Prints to standard output; writes the files that are asked for.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from embed.errors import InputError
from embed.printable import printable
from pipelines.answers.answer import Answer
from pipelines.answers.named_photos import NamedPhoto, open_photo
from pipelines.answers.photo import Photo, save_photo
from pipelines.recognizer import Recognizer

Form = Literal["table", "json", "csv"]
Take = Callable[[Answer], None]  # raises InputError where an output cannot be had of a photo

URL_THREADS = 8  # photos that are downloaded at a time


@dataclass(frozen=True)
class Wanted:
    """The outputs that are asked for."""

    form: Form = "table"  # of standard output
    explain: bool = False  # the table says how confidences came about
    html: Path | None = None
    png: Path | None = None  # of a single photo
    sort_into: Path | None = None
    xmp: bool = False


@dataclass
class AnswerOutputs:
    """Takes answers and gives them out; what shows all of them is written at the end.

    Use it in a `with` block.
    """

    recognizer: Recognizer
    wanted: Wanted
    failed: bool = False  # a photo could not be read, or an output not be had of one
    _takes: list[Take] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)  # where a page or figure shows them
    _files: dict[str, Path] = field(default_factory=dict)  # of photos whose name is no path
    _folder: Path = Path()  # for these, while the outputs are open
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Open the outputs."""
        self._takes = [_open_form(self.wanted), *self._open_files()]
        if self._shows:
            self._takes.append(self._answers.append)
            self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write page and figure, unless something failed before."""
        with self._open:
            if kind is None:
                self._show()

    def take(self, answer: Answer) -> None:
        """Give an answer out; an output that cannot be had is a line on standard error."""
        self.failed |= bool(answer.error)
        for take in self._takes:
            try:
                take(answer)
            except InputError as error:
                self.failed = True
                print("error:", printable(str(error)), file=sys.stderr)

    def keep(self, photo: Photo) -> Photo:
        """Return a photo, which is put into a file where it has none and is shown at the end."""
        if not self._shows or isinstance(photo.source, Path):
            return photo
        path = save_photo(photo, self._folder)
        self._files[photo.name] = path
        return Photo.of(path, photo.name)

    @property
    def _shows(self) -> bool:
        return self.wanted.html is not None or self.wanted.png is not None

    def _open_files(self) -> Iterator[Take]:
        if self.wanted.sort_into is not None:
            from .sorting import SortedPhotos

            landmarks = [(each.label, each.name) for each in self.recognizer.landmarks()]
            yield SortedPhotos(self.wanted.sort_into, landmarks).place
        if self.wanted.xmp:
            from .sidecars import write_sidecar

            yield write_sidecar

    def _show(self) -> None:
        """Write what shows all answers."""
        html, png = self.wanted.html, self.wanted.png
        if html is not None:
            from pipelines.reports.page.query_page import write_query_page

            write_query_page(self.recognizer, self._answers, html, self._files)
            _say_written(html)
        if png is not None and not self._answers[0].error:
            from .query_figure import write_query_figure

            answer = self._answers[0]
            photo = Photo.of(self._files.get(answer.image, Path(answer.image)), answer.image)
            write_query_figure(self.recognizer, photo, answer, png)
            _say_written(png)


def _say_written(path: Path) -> None:
    print(f"wrote {printable(str(path))}", file=sys.stderr)  # standard output may be JSON


def _open_form(wanted: Wanted) -> Take:
    """Return what prints an answer. Only what is asked for is imported."""
    if wanted.form == "json":
        from .answers_json import format_json

        return lambda answer: print(format_json(answer), flush=True)
    if wanted.form == "csv":
        from .answers_csv import CsvAnswers

        return CsvAnswers(sys.stdout).write
    from .tables import open_console, print_answer

    return partial(print_answer, console=open_console(), explain=wanted.explain)


def answer_named(
    outputs: AnswerOutputs,
    named: Sequence[NamedPhoto],
    *,
    neighbors: int = 5,
    allow_private: bool = False,
) -> None:
    """Answer photos, in order.

    Args:
        outputs: that take the answers.
        named: of list_named.
        neighbors: how many database photos come with each answer.
        allow_private: of URLs, see download_image.

    Raises:
        InputError: a file of the run is damaged.
    """
    recognizer = outputs.recognizer
    describer = recognizer.opened.describer

    def prepare(each: NamedPhoto) -> Photo:
        limit = describer.recipe.decode.max_pixels
        photo = outputs.keep(open_photo(each, limit, allow_private=allow_private))
        return Photo(describer.decode(photo), photo.name)

    if len(named) == 1:  # neither threads nor a bar
        try:
            photo = prepare(named[0])
        except InputError as error:
            outputs.take(Answer(str(named[0]), error=str(error)))
        else:
            outputs.take(recognizer.recognize(photo, neighbors=neighbors))
        return
    from pipelines.answers.streaming import stream_answers
    from pipelines.progress import progress_bar

    remote = any(isinstance(each, str) for each in named)
    answers = stream_answers(
        named,
        prepare,
        lambda photos: recognizer.recognize(photos, neighbors=neighbors),
        threads=URL_THREADS if remote else 0,
    )
    with progress_bar("recognise", len(named)) as advance:
        for answer in answers:
            outputs.take(answer)
            advance(1)
