"""Put decisions and the evidence of the label that was guessed into words and records."""

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from classify_head.policies import Decisions
from classify_head.prediction import Prediction

from .recognition import Recognizer
from .supporters import format_inliers


def make_predictions(
    recognizer: Recognizer, evidence: Evidence, decisions: Decisions
) -> list[Prediction]:
    """Return one record a query, with what speaks for its label, rejected or not."""
    return [_predict(recognizer, evidence, decisions, query) for query in range(len(evidence))]


def _predict(
    recognizer: Recognizer, evidence: Evidence, decisions: Decisions, query: int
) -> Prediction:
    query_id, confidence = evidence.query_ids[query], float(decisions.confidences[query])
    guess = int(decisions.guesses[query])
    if guess < 0:
        return Prediction(query_id, None, 0.0, {}, reason=decisions.reasons[query])
    mine = evidence.labels[query] == guess
    cosines = evidence.similarities[query][mine].astype(np.float64)
    known = {
        # A head may name a landmark of which no image is among the neighbours.
        "similarity": float(cosines.max(initial=-1.0)),
        "votes": float(decisions.votes[query]),
        "inliers": float(evidence.inliers[query][mine].max(initial=0)),
        "penalty": float(decisions.penalties[query]),
    }
    if decisions.labels[query] >= 0:
        return Prediction(query_id, guess, confidence, known, guess=guess)
    likeliest = f"the likeliest is {recognizer.name(guess)}{_say_near(evidence, query, mine)}"
    reason = f"{decisions.reasons[query]}; {likeliest}"
    return Prediction(query_id, None, confidence, known, guess=guess, reason=reason)


def _say_near(evidence: Evidence, query: int, mine: NDArray[np.bool_]) -> str:
    """Say how near the photos [K] of a landmark come to a query."""
    if not mine.any():  # a head named it
        return ", of which no photo is near"
    inliers = int(evidence.inliers[query][mine].max())
    found = f"similarity {evidence.similarities[query][mine].max():.2f}"
    return (
        f" ({', '.join(filter(None, [found, format_inliers(inliers if inliers >= 0 else None)]))})"
    )
