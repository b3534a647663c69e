"""The answer to one photo, in words and with names, and what is known of its landmark."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from classify_head.label_scores import images_of
from classify_head.policies import Decisions
from rerank.hulls import Box

from .retriever import Retriever
from .supporters import format_inliers

DIGITS = 6  # of floats in JSON
Point = tuple[float, float]  # x, y in pixels of the upright original photo


@dataclass(frozen=True)
class Match:
    """A database photo beside the one that was asked about."""

    image_id: str
    label: int
    name: str
    rank: int | None  # among the neighbours, from 0 for the nearest; None if behind them
    similarity: float  # cosine, refined where the recipe refines
    inliers: int | None  # None where it was not compared
    verified: bool  # there are more inliers than chance gives
    votes: float = 0.0  # what it added to the score of its label
    # Where regions are described: the two that are most similar; left, top, right, bottom in pixels
    # of the upright original. None: the whole photo.
    query_box: Box | None = None  # in the photo that was asked about
    box: Box | None = None  # in the database photo likewise; None also where it is gone


@dataclass(frozen=True)
class RankedLabel:
    """A landmark that a photo may show."""

    label: int
    name: str
    probability: float | None  # that it is right; None where the policy knows no probabilities
    votes: float  # of its neighbours together; 0 where a head alone names it


@dataclass(frozen=True)
class FurtherAnswer:
    """Another landmark in a photo, verified in another part of it than those answered before."""

    label: int
    name: str
    confidence: float  # that it is right, were those answered before not in the database
    box: Box  # around its inliers: left, top, right, bottom; pixels of the upright original photo
    image_id: str  # the database photo that was verified there
    inliers: int  # of it


@dataclass(frozen=True)
class Answer:
    """The answer to one photo; error is set, and nothing else, where it could not be read.

    Raises:
        ValueError: there is neither a landmark nor a reason nor an error.
    """

    image: str  # id, or path of a photo that has none
    label: int | None = None  # of the landmark
    name: str | None = None
    confidence: float = 0.0  # of the guess; higher is surer
    reason: str = ""  # why there is no known landmark
    guess: int | None = None  # the likeliest landmark, answered or not
    top: tuple[RankedLabel, ...] = ()  # the guess, and what is likeliest after it
    neighbors: tuple[Match, ...] = ()  # what speaks for the guess, then what for another
    best: Match | None = None  # what speaks most for the guess
    region: tuple[Point, ...] = ()  # corners around the inliers of the best; none if not verified
    further: tuple[FurtherAnswer, ...] = ()  # in other parts of the photo
    explanation: str = ""  # how the confidence came about, in two sentences
    penalty: float = 0.0  # likeness to photos without a landmark, a cosine
    details: Mapping[str, str] = field(default_factory=dict)  # other columns of labels.csv
    error: str = ""

    def __post_init__(self) -> None:
        """Check that a missing landmark is explained."""
        if self.label is None and not self.reason and not self.error:
            raise ValueError(f"'{self.image}' has neither a landmark nor a reason")

    @property
    def latitude(self) -> float | None:
        """Degrees north, where labels.csv says so in a column of that name."""
        return _parse_degrees(self.details, "latitude", 90)

    @property
    def longitude(self) -> float | None:
        """Degrees east, likewise."""
        return _parse_degrees(self.details, "longitude", 180)

    def moved(self, left: int, top: int) -> "Answer":
        """Return the answer to a part of a photo with what it locates where that is in the photo.

        Args:
            left: pixels of the upright original, where the part begins.
            top: likewise.
        """

        def move(match: Match) -> Match:
            return replace(match, query_box=_move(match.query_box, left, top))

        return replace(
            self,
            neighbors=tuple(map(move, self.neighbors)),
            best=self.best and move(self.best),
            region=tuple((x + left, y + top) for x, y in self.region),
            further=tuple(replace(f, box=_move(f.box, left, top) or f.box) for f in self.further),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON: floats of at most DIGITS digits, and the place."""
        place = {"latitude": self.latitude, "longitude": self.longitude}
        values: dict[str, Any] = _round({**asdict(self), **place})
        return values


def _move(box: Box | None, left: int, top: int) -> Box | None:
    return box and (box[0] + left, box[1] + top, box[2] + left, box[3] + top)


def _parse_degrees(details: Mapping[str, str], name: str, largest: float) -> float | None:
    try:
        degrees = float(details[name])
    except (KeyError, ValueError):
        return None
    return degrees if abs(degrees) <= largest else None


def _round(value: Any) -> Any:
    """Return a value with all floats in it rounded."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _round(each) for key, each in value.items()}
    return [_round(each) for each in value] if isinstance(value, list | tuple) else value


def make_answers(retriever: Retriever, evidence: Evidence, decisions: Decisions) -> list[Answer]:
    """Return one record a query, without what speaks for it."""
    return [_answer(retriever, evidence, decisions, query) for query in range(len(evidence))]


def _answer(retriever: Retriever, evidence: Evidence, decisions: Decisions, query: int) -> Answer:
    image, reason = evidence.query_ids[query], decisions.reasons[query]
    guess, penalty = int(decisions.guesses.labels[query]), float(decisions.penalties[query])
    if guess < 0:
        return Answer(image, reason=reason, penalty=penalty)
    confidence, name = float(decisions.guesses.confidences[query]), retriever.name(guess)
    if not reason:
        return Answer(image, guess, name, confidence, guess=guess, penalty=penalty)
    reason = f"{reason}; the likeliest is {name}{_say_near(evidence, query, guess)}"
    return Answer(image, confidence=confidence, reason=reason, guess=guess, penalty=penalty)


def _say_near(evidence: Evidence, query: int, guess: int) -> str:
    """Say how near the photos of a landmark come to a query."""
    mine = evidence.labels[query] == guess
    if not mine.any():  # a head named it
        return ", of which no photo is near"
    inliers = int(evidence.inliers[query][mine].max())
    similarity = f"similarity {evidence.similarities[query][mine].max():.2f}"
    verified = format_inliers(inliers if inliers >= 0 else None)
    return f" ({', '.join(filter(None, [similarity, verified]))})"


def measure_guesses(evidence: Evidence, decisions: Decisions) -> dict[str, NDArray[np.number]]:
    """Return what is known of each guess [Q]: its votes, and of its photos the most.

    A head may name a landmark of which no image is among the neighbours: similarity -1, 0 inliers.
    """
    mine = images_of(evidence, decisions.guesses.labels)
    return {
        "votes": decisions.votes,
        "similarity": np.where(mine, evidence.similarities, -1.0).max(axis=1, initial=-1.0),
        "inliers": np.where(mine, evidence.inliers, 0).max(axis=1, initial=0),
        "penalty": decisions.penalties,
    }
