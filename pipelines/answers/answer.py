"""The answer to one photo, in words and with names, and what is known of its landmark."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from classify_head.label_scores import images_of
from classify_head.policies import Decisions
from rerank.hulls import Box

from .recognition import Recognizer
from .supporters import format_inliers


@dataclass(frozen=True)
class Match:
    """A database photo beside the one that was asked about."""

    image_id: str
    landmark_id: int
    name: str
    rank: int | None  # among the neighbours, from 0 for the nearest; None if behind them
    similarity: float  # cosine, refined where the recipe refines
    inliers: int | None  # None where it was not compared
    verified: bool  # there are more inliers than chance gives
    # Where regions are described: the two that are most similar; left, top, right, bottom in pixels
    # of the upright original. None: the whole photo.
    query_box: Box | None = None  # in the photo that was asked about
    box: Box | None = None  # in the database photo likewise; None also where it is gone


@dataclass(frozen=True)
class FurtherAnswer:
    """Another landmark in a photo, verified in another part of it than those answered before."""

    landmark_id: int
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
    landmark_id: int | None = None
    name: str | None = None
    confidence: float = 0.0  # of the guess; higher is surer
    reason: str = ""  # why there is no known landmark
    guess: int | None = None  # the likeliest landmark, answered or not
    neighbors: tuple[Match, ...] = ()  # what speaks for the guess, then what for another
    best: Match | None = None  # what speaks most for the guess
    further: tuple[FurtherAnswer, ...] = ()  # in other parts of the photo
    error: str = ""

    def __post_init__(self) -> None:
        """Check that a missing landmark is explained."""
        if self.landmark_id is None and not self.reason and not self.error:
            raise ValueError(f"'{self.image}' has neither a landmark nor a reason")


def make_answers(recognizer: Recognizer, evidence: Evidence, decisions: Decisions) -> list[Answer]:
    """Return one record a query, without what speaks for it."""
    return [_answer(recognizer, evidence, decisions, query) for query in range(len(evidence))]


def _answer(recognizer: Recognizer, evidence: Evidence, decisions: Decisions, query: int) -> Answer:
    image, reason = evidence.query_ids[query], decisions.reasons[query]
    guess = int(decisions.guesses.labels[query])
    if guess < 0:
        return Answer(image, reason=reason)
    confidence, name = float(decisions.guesses.confidences[query]), recognizer.name(guess)
    if not reason:
        return Answer(image, guess, name, confidence, guess=guess)
    reason = f"{reason}; the likeliest is {name}{_say_near(evidence, query, guess)}"
    return Answer(image, confidence=confidence, reason=reason, guess=guess)


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
