"""Matching and geometry as they are written first, for the benchmark to compare with.

A float32 product of unit rows a pair, and numpy's functions of small arrays. Reads and writes no
files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rerank.features import LocalFeatures
from rerank.geometry import MINIMUM_MATCHES, MINIMUM_SPREAD, REFERENCE_SIDE, _estimate
from rerank.planar import MAXIMUM_ANISOTROPY, MAXIMUM_SCALE
from rerank.settings import RerankSettings

Floats = NDArray[np.float64]


def count_plainly(
    query: LocalFeatures, candidates: Sequence[LocalFeatures], settings: RerankSettings
) -> list[int]:
    """Return the inliers of each candidate of a query."""
    rows0 = _unit_rows(query.descriptors)
    buffer = np.empty(len(rows0) * max(map(len, candidates), default=0), np.float32)
    counts = []
    for candidate in candidates:
        rows1 = _unit_rows(candidate.descriptors)
        cosines = buffer[: len(rows0) * len(rows1)].reshape(len(rows0), len(rows1))
        np.matmul(rows0, rows1.T, out=cosines)
        matches = _match(cosines, settings.max_ratio, settings.max_distance)
        counts.append(_count_inliers(query, candidate, matches, settings))
    return counts


def _unit_rows(descriptors: NDArray[Any]) -> NDArray[np.float32]:
    rows = descriptors.astype(np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows *= (1.0 / np.maximum(norms, 1e-12))[:, None]
    return rows


def _match(
    cosines: NDArray[np.float32], max_ratio: float, max_distance: float
) -> NDArray[np.int64]:
    n0, n1 = cosines.shape
    if not n0 or not n1:
        return np.empty((0, 2), np.int64)
    columns = cosines.argmax(axis=1)
    best = cosines[np.arange(n0), columns]
    mutual = best == cosines.max(axis=0)[columns]
    rows = np.flatnonzero(mutual & (_squared_distance(best) <= max_distance**2))
    rows = rows[np.sort(np.unique(columns[rows], return_index=True)[1])]
    if max_ratio < 1:
        rivals = cosines[rows]
        rivals[np.arange(len(rows)), columns[rows]] = -np.inf
        limit = max_ratio**2 * _squared_distance(rivals.max(axis=1))
        rows = rows[_squared_distance(best[rows]) <= limit]
    return np.stack([rows, columns[rows]], axis=1).astype(np.int64)


def _squared_distance(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    squared = 2.0 - 2.0 * cosines
    squared[squared < 1e-6] = 0.0
    return squared


def _count_inliers(
    query: LocalFeatures,
    candidate: LocalFeatures,
    matches: NDArray[np.int64],
    settings: RerankSettings,
) -> int:
    model, threshold = settings.model, settings.threshold_px
    if len(matches) < MINIMUM_MATCHES[model]:
        return 0
    order = np.lexsort((matches[:, 1], matches[:, 0]))
    points0, points1 = (
        np.float64(REFERENCE_SIDE / max(features.image_size))
        * features.keypoints[matches[order, side]].astype(np.float64)
        for side, features in enumerate((query, candidate))
    )
    transform = _estimate(
        points0,
        points1,
        model,
        threshold=threshold,
        iterations=settings.max_iterations,
        seed=0,
    )
    if transform is None or np.linalg.det(transform) < 1e-9:
        return 0
    distance = np.linalg.norm(_project(transform, points0) - points1, axis=1)
    agree = np.flatnonzero(distance <= threshold)
    back = _project(np.linalg.inv(transform).astype(np.float64), points1[agree]) - points0[agree]
    agree = agree[np.linalg.norm(back, axis=1) <= threshold]
    for points in (points0, points1):
        cells = np.floor(points[agree] / (threshold / 2))
        _, first = np.unique(cells[:, 0] * 2.0**27 + cells[:, 1], return_index=True)
        agree = agree[np.sort(first)]
    if len(agree) < MINIMUM_MATCHES[model]:
        return 0
    spread = min(np.sqrt(_least_variance(points[agree])) for points in (points0, points1))
    if spread < MINIMUM_SPREAD * threshold or not _is_plausible(transform, points0[agree]):
        return 0
    np.median(distance[agree])
    return len(agree)


def _project(transform: Floats, points: Floats) -> Floats:
    mapped = points @ transform[:2, :2].T + transform[:2, 2]
    depth = points @ transform[2, :2] + transform[2, 2]
    front = depth > 1e-9
    out = np.full_like(points, np.inf)
    out[front] = mapped[front] / depth[front, None]
    return out


def _least_variance(points: Floats) -> float:
    x, y = (points - points.mean(axis=0)).T
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    return float(max(xx + yy - np.hypot(xx - yy, 2 * xy), 0) / 2 / len(points))


def _is_plausible(transform: Floats, inliers: Floats) -> bool:
    (left, top), (right, bottom) = inliers.min(axis=0), inliers.max(axis=0)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    mapped = _project(transform, corners)
    if not np.isfinite(mapped).all():
        return False
    depth = corners @ transform[2, :2] + transform[2, 2]
    jacobians = transform[:2, :2] - mapped[:, :, None] * transform[2, :2]
    jacobians /= depth[:, None, None]
    if not (np.linalg.det(jacobians) > 0).all():
        return False
    stretch = np.linalg.svd(jacobians, compute_uv=False)
    return bool(
        stretch.max() <= MAXIMUM_SCALE
        and stretch.min() >= 1 / MAXIMUM_SCALE
        and (stretch[:, 0] <= MAXIMUM_ANISOTROPY * stretch[:, 1]).all()
    )
