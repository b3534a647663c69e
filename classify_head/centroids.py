"""Stand for each landmark by the mean of its descriptors, and find the nearest of these.

Arrays in, arrays out.
"""

import numpy as np
from numpy.typing import NDArray

from .label_scores import LabelScores

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]


def class_centroids(
    vectors: Vectors, labels: Ints, most: int = 100, seed: int = 0
) -> tuple[Ints, Vectors]:
    """Average the descriptors of each landmark, at most so many of it, drawn at random.

    Args:
        vectors: [N, D] float32, rows of length 1.
        labels: [N] int64, 0 or more.
        most: images of a landmark that are averaged.
        seed: of the draw.

    Returns:
        The labels [C] int64, ascending, and the centroids [C, D] float32 of length 1; a centroid
        of descriptors that cancel out stays 0.

    Raises:
        ValueError: lengths differ, or `most` is below 1.

    Source: tenth place of the 2018 Google Landmark Recognition challenge.
    """
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1] or most < 1:
        shapes = f"vectors {vectors.shape}, labels {labels.shape}"
        raise ValueError(f"{shapes}, most {most}; expected [N, D], [N] and 1 or more")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    distinct, starts = np.unique(labels[order], return_index=True)
    centroids = np.zeros((len(distinct), vectors.shape[1]), dtype=np.float32)
    for row, rows in enumerate(np.split(order, starts[1:]) if len(distinct) else []):
        # Sorted, so that where all are taken the draw can't even change the last bit.
        mean = vectors[np.sort(rows[:most])].mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(mean)
        centroids[row] = mean / length if length > 1e-12 else 0.0
    return distinct, centroids


def nearest_centroids(
    queries: Vectors,
    labels: Ints,
    centroids: Vectors,
    count: int = 12,
    without: Ints | None = None,
) -> LabelScores:
    """Find the landmarks whose centroids are nearest.

    Args:
        queries: [Q, D] float32, rows of length 1.
        labels: [C] int64, of the centroids.
        centroids: [C, D] float32, rows of length 1.
        count: landmarks a query; all if there are fewer.
        without: [Q] int64, a landmark that each query is asked without; -1 for none.

    Returns:
        The landmarks and their cosines, best first, ties by lower label.

    Raises:
        ValueError: lengths or dims differ, or `count` is below 1.
    """
    if labels.shape != centroids.shape[:1] or queries.shape[1:] != centroids.shape[1:]:
        shapes = f"queries {queries.shape}, labels {labels.shape}, centroids {centroids.shape}"
        raise ValueError(f"{shapes}; expected [Q, D], [C], [C, D]")
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    count = min(count, len(labels))
    if not len(queries) or not count:
        empty = np.empty((len(queries), count))
        return LabelScores(empty.astype(np.int64), empty)
    from index.kernels import faiss  # .1 s, and few policies ask for centroids

    more = min(count + (without is not None), len(labels))
    cosines, places = faiss.knn(queries, centroids, more, metric=faiss.METRIC_INNER_PRODUCT)
    found, scores = labels[places], cosines.astype(np.float64)
    if without is not None:
        out = found == without[:, None]
        found, scores = np.where(out, -1, found), np.where(out, -np.inf, scores)
    order = np.lexsort((found, -scores), axis=1)[:, :count]
    return LabelScores(
        np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)
    )
