"""Measure what only some policies ask for, from the database alone."""

import numpy as np
from numpy.typing import NDArray

from classify_head.centroids import nearest_centroids
from classify_head.extras import Extras
from classify_head.policy import Policy

from .database import Database
from .exclusion import Exclusion


def make_extras(
    policy: Policy,
    database: Database,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    excluded: Exclusion | None = None,
) -> Extras:
    """Return what a policy needs of Q queries beyond their evidence; nothing for most policies.

    Args:
        policy: that will decide.
        database: that was searched.
        vectors: [Q, dim] descriptors of the queries, before any whitening.
        rows: [Q, K] database row of each neighbour; -1 is padding.
        excluded: images left out for each query.
    """
    centroids, support = None, None
    if policy.vote.name == "centroids":
        if database.whitening is not None:
            vectors = database.whitening.apply(vectors)
        without = None if excluded is None else excluded.landmarks
        centroids = nearest_centroids(vectors, *database.centroids, without=without)
    if policy.rescoring.name == "label-agreement":
        support = label_support(database, rows)
    return Extras(centroids=centroids, support=support)


def label_support(database: Database, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return [Q, K] the cosine of each row to the nearest other image of its landmark.

    0 for padding, and for an image that is its landmark's only one.
    """
    known, places = np.unique(rows, return_inverse=True)
    support = np.zeros(len(known), dtype=np.float32)
    for label in np.unique(database.rows.labels(known[known >= 0])):
        members = database.rows.rows_of_landmark(int(label))
        if len(members) > 1:
            vectors = database.images.whole(members)
            cosines = vectors @ vectors.T
            np.fill_diagonal(cosines, -np.inf)
            _, of_known, of_members = np.intersect1d(known, members, return_indices=True)
            support[of_known] = cosines.max(axis=1)[of_members]
    return support[places.reshape(rows.shape)]
