"""Name what else is in photos that were answered: landmarks verified in other parts of them.

Reads the local features of the run folder; writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from rerank.features import LocalFeatures
from rerank.geometry import is_verified
from rerank.hulls import Points, bounding_box, convex_hull, inlier_points, is_apart
from rerank.verifier import FindFeatures

from .answer import Answer, FurtherAnswer
from .decision import Decision
from .retriever import Retriever

# Compared once more, for where their inliers lie: so many landmarks, and images of each.
LANDMARKS, IMAGES = 20, 3


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a database image was verified in a query."""

    image_id: str
    points: Points  # [I, 2] its inliers


def add_further(
    answers: Sequence[Answer],
    retriever: Retriever,
    decision: Decision,
    evidence: Evidence,
    rows: NDArray[np.int64],
    *,
    find_features: FindFeatures,
) -> list[Answer]:
    """Return the answers to Q queries with what else is in the photos; mostly that is nothing.

    The first answer must be verified: else nobody knows which part of the photo it is of. Each
    further one is what the model would answer, and not reject, if the database had neither the
    landmarks answered before nor their look-alikes, those verified in the same parts; and it is
    verified in another part itself.

    Args:
        answers: [Q], without further ones.
        retriever: that gathered the evidence.
        decision: with the calibrated fusion, where more than one answer is asked for.
        evidence: of the Q queries.
        rows: [Q, K] database row of each neighbour; -1 is padding.
        find_features: local features of query 0 to Q - 1.
    """
    if decision.recipe.decide.most_answers < 2:
        return list(answers)
    added = []
    for query, answer in enumerate(answers):
        alone = evidence.take(slice(query, query + 1))
        strongest = _list_strongest(alone, answer.label)
        features = find_features(query) if len(strongest) > 1 else None
        if features is not None:
            places = _locate(retriever, rows[query], features, strongest)
            further = _find_further(retriever, decision, answer, places, alone)
            answer = replace(answer, further=further)
        added.append(answer)
    return added


def _list_strongest(evidence: Evidence, first: int | None) -> dict[int, list[int]]:
    """Return the neighbours of one query with most inliers, at most IMAGES of a landmark.

    By landmark: the first answer, and LANDMARKS others at most; none where it is not verified.
    """
    inliers, found = evidence.inliers[0], dict[int, list[int]]()
    for place in np.argsort(-inliers, kind="stable").tolist():
        if is_verified(int(inliers[place])):
            found.setdefault(int(evidence.labels[0, place]), []).append(place)
    if first not in found:
        return {}
    kept = [first, *[label for label in found if label != first][:LANDMARKS]]
    return {label: found[label][:IMAGES] for label in kept}


def _locate(
    retriever: Retriever,
    rows: NDArray[np.int64],
    features: LocalFeatures,
    strongest: dict[int, list[int]],
) -> dict[int, list[_Place]]:
    """Return where these neighbours were verified in the query, in their order."""
    assert retriever.verifier is not None  # there are inliers
    wanted = [int(rows[place]) for places in strongest.values() for place in places]
    table = retriever.database.rows
    found = {
        each.row: _Place(
            table.image_id(each.row), inlier_points(features.keypoints, each.verification)
        )
        for each in retriever.verifier.compare(features, wanted)
    }
    return {label: [found[int(rows[k])] for k in places] for label, places in strongest.items()}


def _find_further(
    retriever: Retriever,
    decision: Decision,
    answer: Answer,
    places: dict[int, list[_Place]],
    evidence: Evidence,
) -> tuple[FurtherAnswer, ...]:
    """Return the further answers to one query, by where landmarks were verified in it."""
    assert decision.model is not None and answer.label is not None
    hulls = [convex_hull(place.points) for place in places[answer.label]]
    further: list[FurtherAnswer] = []
    while len(further) + 1 < decision.recipe.decide.most_answers:
        apart = {
            label: [place for place in several if is_apart(place.points, hulls)]
            for label, several in places.items()
        }
        shared = [label for label, several in apart.items() if not several]  # and those answered
        left = evidence.without_landmarks(np.array(shared))
        choice = decision.model.decide(left)
        label = int(choice.labels[0])
        if not apart.get(label) or decision.policy.rejection(left, choice)[0]:
            break
        best = apart[label][0]
        further.append(
            FurtherAnswer(
                label,
                retriever.name(label),
                float(choice.confidences[0]),
                bounding_box(best.points),
                best.image_id,
                len(best.points),
            )
        )
        hulls += [convex_hull(place.points) for place in apart[label]]
    return tuple(further)
