"""Write the answers to photos as a page, with their neighbours and match lines.

Reads the photos that were asked about and, where the dataset is still there, those of the database.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from embed.decode import ImageError
from pipelines.answers.answer import Answer, Match
from pipelines.answers.opened_run import SAY_WHERE, OpenedRun
from pipelines.answers.photo import Photo
from pipelines.answers.supporters import name_landmark
from pipelines.recognizer import Recognizer

from .pairs import (
    NO_PHOTO,
    PagePhoto,
    compare,
    count_lines,
    describe,
    draw_compared,
    name_place,
    read_photo,
    show_photo,
    to_picture,
)
from .records import Case, Picture, QueryPage
from .render import save_page

logger = logging.getLogger(__name__)


def write_query_page(
    recognizer: Recognizer,
    answers: Sequence[Answer],
    path: Path,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Write a page with the answers to photos.

    Args:
        recognizer: that gave the answers.
        answers: in the order of the page.
        path: the HTML file to write.
        files: where photos are whose name, as in the answer, is no path.
    """
    opened = recognizer.opened
    shower = _Shower(opened, files)
    database = opened.retriever.database
    facts = (
        ("run", opened.run.resolve().name),
        ("database", f"{database.images.live} photos"),
        ("decision", opened.recipe.decide.policy),
    )
    cases = tuple(shower.show(answer) for answer in answers)
    if shower.gone:
        logger.warning(
            "%d photos of the database are gone, and the page says so; %s",
            len(shower.gone),
            SAY_WHERE,
        )
    count = "1 photo" if len(cases) == 1 else f"{len(cases)} photos"
    save_page("query", QueryPage(f"Answers to {count}", facts, cases), path)


@dataclass(frozen=True)
class _Shower:
    """Turns answers into cases."""

    opened: OpenedRun
    files: Mapping[str, Path]
    gone: set[str] = field(default_factory=set)  # ids of photos that could not be shown

    def show(self, answer: Answer) -> Case:
        """Return one answer as the page shows it."""
        file = Path(answer.image).name
        if answer.error:
            return Case(file, "not read", "warn", (answer.error,), (), ())
        neighbors = tuple(self._show_neighbor(near, answer.guess) for near in answer.neighbors)
        photo, pairs = f"photo {file}", (self._show_best(answer),)
        if answer.label is None:
            title = "No known landmark"
            return Case(title, "refused", "plain", (photo, answer.reason), pairs, neighbors)
        facts = [photo, f"confidence {answer.confidence:.3f}", f"landmark {answer.label}"]
        facts += [f"also {each.name}, confidence {each.confidence:.3f}" for each in answer.further]
        return Case(answer.name or "", "answered", "good", tuple(facts), pairs, neighbors)

    def _show_best(self, answer: Answer) -> Picture:
        """Return the photo beside what speaks most for the answer, or alone if nothing does."""
        opened, file = self.opened, Path(answer.image).name
        query = self._read_query(self.files.get(answer.image, Path(answer.image)))
        near = answer.best
        if near is None:
            return show_photo(query, file)
        other = self._read_database(near.image_id)
        found = compare(query, other, opened.recipe.rerank)
        inliers = None if found is None else found.n_inliers
        drawn = draw_compared(query, other, found)
        note = describe("", near.similarity, inliers)
        alt = f"{file} beside {near.image_id}{count_lines(found)}"
        return to_picture(drawn, alt, near.name, note)

    def _show_neighbor(self, near: Match, guess: int | None) -> Picture:
        place = "" if near.rank is None else name_place(near.rank)
        note = describe(place, near.similarity, near.inliers)
        title = name_landmark(near, guess, near.name)
        return show_photo(self._read_database(near.image_id), near.image_id, title, note)

    def _read_query(self, path: Path) -> PagePhoto:
        """Read a photo and find its features again: kept, those of many would fill the memory."""
        try:
            features = self.opened.find_features(Photo.of(path))
        except ImageError:  # it was deleted since
            return NO_PHOTO
        return read_photo(path, self.opened.recipe.decode.max_pixels, features)

    def _read_database(self, image_id: str) -> PagePhoto:
        stored = self.opened.retriever.features
        features = stored.get(image_id) if stored is not None else None
        try:
            path = self.opened.locate(image_id)
        except FileNotFoundError:  # a run answers without its dataset, too
            self.gone.add(image_id)
            return PagePhoto(None, features)
        return read_photo(path, self.opened.recipe.decode.max_pixels, features)
