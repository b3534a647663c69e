"""Describe how well each label fits a query: the numbers that calibrated fusion decides by.

A pair is a query and one of the labels among its neighbours. Arrays in, arrays out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence

Floats = NDArray[np.float64]

CHANCE_INLIERS = 4  # as many are found by chance and count as none
LABELS_PER_CRITERION = 3  # best labels by similarity, votes and inliers that become pairs
VOTE_POWER = 8.0  # exponent of the cosine, as in the policy knn-power
VOTES_PER_LABEL = 5
# Added to both sides of a ratio: differences below it mean nothing.
VOTE_FLOOR, INLIER_FLOOR = 0.05, 10.0
POOL_IMAGES = 5  # of the non-landmark pool that are averaged
RESIDUAL_LIMIT = 8.0  # pixels; without a transform nothing lies nearer


@dataclass(frozen=True)
class LabelStrengths:
    """What speaks for each of the L labels among one query's neighbours."""

    labels: NDArray[np.int64]  # [L] ascending
    similarity: Floats  # cosine to the nearest image
    votes: Floats  # sum of (cosine / cosine of the nearest image of all) ** 8 of the 5 nearest
    inliers: Floats  # of all its verified images, beyond chance
    most_inliers: Floats  # of its best verified image, beyond chance
    mean_inliers: Floats  # of its verified images, beyond chance
    residual: Floats  # of its best verified image, pixels
    sizes: Floats  # database images
    head: Floats  # score of the head; nan where the head does not know or rank it
    pool: float  # mean cosine of the query to the nearest images without a landmark


@dataclass(frozen=True)
class LabelPairs:
    """M pairs of a query and a label, in order of the queries."""

    queries: NDArray[np.int64]  # [M] rows of the evidence
    labels: NDArray[np.int64]  # [M]
    values: Floats  # [M, F]


def lead(values: Floats) -> Floats:
    """Return [L] the difference of each value to the largest of the others; to 0 if alone."""
    if len(values) < 2:
        return values.copy()
    first, second = np.sort(values)[[-1, -2]]
    others = np.where(values == first, second, first)
    return np.asarray(values - others)


def log_lead(values: Floats, floor: float) -> Floats:
    """Return [L] the logarithm of each value's ratio to the largest of the others."""
    return lead(np.log(values + floor) - np.log(floor))


def _head_lead(of: LabelStrengths) -> Floats:
    """Return the lead by the head; 0, which says nothing, for labels that it does not rank."""
    known = ~np.isnan(of.head)
    leads = np.zeros(len(of.head))
    leads[known] = lead(of.head[known])
    return leads


# What can be known of a pair. The names are those of recipes (decide.features).
PAIR_FEATURES: dict[str, Callable[[LabelStrengths], Floats]] = {
    "similarity": lambda of: of.similarity,
    "similarity_lead": lambda of: lead(of.similarity),
    "votes": lambda of: np.sqrt(of.votes),
    "vote_lead": lambda of: log_lead(of.votes, VOTE_FLOOR),
    "inliers": lambda of: np.log1p(of.inliers),
    "inlier_lead": lambda of: log_lead(of.inliers, INLIER_FLOOR),
    "inlier_share": lambda of: of.inliers / (of.inliers.sum() + INLIER_FLOOR),
    "most_inliers": lambda of: np.log1p(of.most_inliers),
    "mean_inliers": lambda of: np.log1p(of.mean_inliers),
    "residual": lambda of: of.residual,
    "pool": lambda of: np.full(len(of.labels), of.pool),
    "head_lead": _head_lead,
    "class_size": lambda of: np.log(np.maximum(of.sizes, 1)),
}

# Chosen on real photos and on the rendered city. All of PAIR_FEATURES together did worse: with a
# few hundred queries to learn from, numbers that say the same take each other's weight.
DEFAULT_FEATURES = (
    "similarity",
    "similarity_lead",
    "vote_lead",
    "inliers",
    "inlier_lead",
    "pool",
    "class_size",
)


def make_pairs(evidence: Evidence, names: Sequence[str]) -> LabelPairs:
    """Describe each query's likeliest labels.

    Args:
        evidence: of Q queries; one without neighbours gets no pair.
        names: of PAIR_FEATURES, one a column.
    """
    queries, labels = [], []
    values = [np.empty((0, len(names)))]
    for query in range(len(evidence)):
        of = measure_labels(evidence, query)
        chosen = _choose_labels(of)
        columns = [PAIR_FEATURES[name](of)[chosen] for name in names]
        queries.append(np.full(len(chosen), query))
        labels.append(of.labels[chosen])
        values.append(np.stack(columns, axis=1))
    empty = np.empty(0, dtype=np.int64)
    return LabelPairs(
        np.concatenate([empty, *queries]),
        np.concatenate([empty, *labels]),
        np.concatenate(values),
    )


def measure_labels(evidence: Evidence, query: int) -> LabelStrengths:
    """Sum up what speaks for each label of one query; padding is left out."""
    present = evidence.labels[query] >= 0
    labels, places = np.unique(evidence.labels[query][present], return_inverse=True)
    similarities = evidence.similarities[query][present].astype(np.float64)
    inliers = evidence.inliers[query][present]
    excess = np.maximum(inliers - CHANCE_INLIERS, 0).astype(np.float64)
    verified = inliers >= 0
    count = len(labels)
    sums = np.bincount(places, excess, count).astype(np.float64)
    similarity, most = np.full(count, -1.0), np.zeros(count)
    np.maximum.at(similarity, places, similarities)
    np.maximum.at(most, places, excess)
    residual = np.full(count, RESIDUAL_LIMIT)
    found = np.nan_to_num(evidence.residuals[query][present], nan=RESIDUAL_LIMIT)
    best = (excess == most[places]) & (excess > 0)
    np.minimum.at(residual, places[best], found[best])
    sizes = np.zeros(count)
    np.maximum.at(sizes, places, evidence.sizes[query][present])
    pool = evidence.query_pool[query][:POOL_IMAGES]
    return LabelStrengths(
        labels,
        similarity,
        _power_votes(places, similarities, count),
        sums,
        most,
        sums / np.maximum(np.bincount(places, verified, count), 1),
        residual,
        sizes,
        _head_scores(evidence, query, labels),
        float(pool.mean()) if len(pool) else 0.0,
    )


def _power_votes(places: NDArray[np.intp], similarities: Floats, count: int) -> Floats:
    """Sum the votes of the nearest VOTES_PER_LABEL neighbours of each label.

    A vote is the cosine's share of the largest one, to VOTE_POWER: those of whitened descriptors,
    .3 at most maybe, would else come to nothing.
    """
    order = np.argsort(places, kind="stable")  # by label, nearest first within each
    grouped = places[order]
    rank = np.arange(len(grouped)) - np.searchsorted(grouped, grouped)
    counted = order[rank < VOTES_PER_LABEL]
    largest = max(float(similarities.max(initial=0)), 1e-9)
    powers = (np.maximum(similarities[counted], 0) / largest) ** VOTE_POWER
    return np.asarray(np.bincount(places[counted], powers, count), dtype=np.float64)


def _head_scores(evidence: Evidence, query: int, labels: NDArray[np.int64]) -> Floats:
    """Return the head's score of each label, nan where it is not among the head's first."""
    ranked = dict(zip(evidence.head_labels[query], evidence.head_scores[query], strict=True))
    return np.array([ranked.get(label, np.nan) for label in labels], dtype=np.float64)


def _choose_labels(of: LabelStrengths) -> NDArray[np.intp]:
    """Return the places of the best labels by each criterion, ascending."""
    chosen = np.zeros(len(of.labels), dtype=np.bool_)
    for values in (of.similarity, of.votes, of.inliers):
        chosen[np.lexsort((of.labels, -values))[:LABELS_PER_CRITERION]] = True
    return np.flatnonzero(chosen)
