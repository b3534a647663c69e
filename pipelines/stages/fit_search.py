"""Fit what searches a database: whitening where the recipe asks for it, and the index.

Arrays in, objects out: reads and writes no files.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.whitening import Whitening, fit_whitening, fit_within_class
from index.base import BaseIndex
from index.settings import SearchSettings
from rerank.expansion import augment_database


def fit_search(
    vectors: NDArray[np.float32],
    landmark_ids: NDArray[np.int64],
    settings: SearchSettings,
    fitted: NDArray[np.bool_] | None = None,
    pool: NDArray[np.float32] | None = None,
) -> tuple[Whitening | None, BaseIndex]:
    """Return the whitening of a database, if any, and its index, of N or N * V rows.

    Args:
        vectors: [N, dim] descriptors as embedded, or [N, V, dim] of images with V: the first, of
            the whole image, is what whitening is fitted on.
        landmark_ids: [N].
        settings: of the search.
        fitted: [N] the images that whitening is fitted on; None for all.
        pool: [P, V, dim] those of images without a landmark, as embedded; P may be 0. With V > 1
            whitening is centred halfway between their mean and that of the database.

    Raises:
        InputError: more dimensions are to be kept than there are.
    """
    used = slice(None) if fitted is None else fitted
    whole = vectors if vectors.ndim == 2 else vectors[:, 0]
    whitening = _fit_whitening(whole[used], landmark_ids[used], settings)
    if whitening is not None and vectors.ndim == 3 and vectors.shape[1] > 1:
        whitening = _center_between(whitening, pool)
    vectors = vectors.reshape(-1, vectors.shape[-1])
    if whitening is not None:
        vectors = whitening.apply(vectors)
    if settings.augment_database:
        vectors = _augment(vectors, settings.augment_database)
    return whitening, BaseIndex.build(vectors)


def _fit_whitening(
    vectors: NDArray[np.float32], landmark_ids: NDArray[np.int64], settings: SearchSettings
) -> Whitening | None:
    if settings.whiten == "none":
        return None
    if settings.whiten == "within-class":
        return fit_within_class(vectors, landmark_ids)
    dim = settings.whiten_dim or vectors.shape[1]
    try:
        return fit_whitening(vectors, dim, power=settings.whiten_power)
    except ValueError as error:
        raise InputError(
            f"search.whiten_dim = {settings.whiten_dim}: {error}; or set search.whiten = 'none'"
        ) from error


def _center_between(whitening: Whitening, pool: NDArray[np.float32] | None) -> Whitening:
    """Move the centre halfway to the mean of a pool [P, V, dim], if there is one.

    Seen from the mean of landmarks alone, all that is no landmark lies in one direction: most
    regions of a wide photo would be nearest to the same few images, and nearer than the one region
    that shows something.
    """
    if pool is None or not len(pool):
        return whitening
    others = (pool / np.linalg.norm(pool, axis=2, keepdims=True)).mean(axis=(0, 1), dtype=float)
    return replace(whitening, mean=((whitening.mean + others) / 2).astype(np.float32))


def _augment(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Add to each vector its nearest ones, ever less of them."""
    found = BaseIndex.build(vectors).search(vectors, count + 1)
    return augment_database(vectors, found.rows, weights=np.logspace(0, -1.5, count + 1).tolist())
