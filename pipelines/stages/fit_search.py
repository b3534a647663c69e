"""Fit what searches a database: whitening where the recipe asks for it, and the index.

Arrays in, objects out. Of vectors in a mapped file those that are made are in one, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.mapped import BLOCK, Place, gather, iterate_blocks, store_blocks
from embed.whitening import Whitening, fit_whitening, fit_within_class
from index.base import BaseIndex
from index.settings import SearchSettings
from rerank.expansion import augment_database

FITTED = 1 << 26  # numbers of descriptors that a whitening is fitted on: 256 MiB


def fit_search(
    vectors: NDArray[np.float32],
    landmark_ids: NDArray[np.int64],
    settings: SearchSettings,
    fitted: NDArray[np.bool_] | None = None,
    pool: NDArray[np.float32] | None = None,
    *,
    folder: Path | None = None,
) -> tuple[Whitening | None, BaseIndex]:
    """Return the whitening of a database, if any, and its index, of N or N * V rows.

    Args:
        vectors: [N, dim] descriptors as embedded, or [N, V, dim] of images with V: the first, of
            the whole image, is what whitening is fitted on, or of some where there are many.
        landmark_ids: [N].
        settings: of the search.
        fitted: [N] the images that whitening is fitted on; None for all.
        pool: [P, V, dim] those of images without a landmark, as embedded; P may be 0. With V > 1
            whitening is centred halfway between their mean and that of the database.
        folder: where vectors that are made are written to a file, and mapped; None: in memory.

    Raises:
        InputError: more dimensions are to be kept than there are.
    """
    whole = vectors if vectors.ndim == 2 else vectors[:, 0]
    drawn = _draw_fitted(landmark_ids, whole.shape[1], settings, fitted)
    whitening = _fit_whitening(whole, landmark_ids, drawn, settings)
    if whitening is not None and vectors.ndim == 3 and vectors.shape[1] > 1:
        whitening = _center_between(whitening, pool)
    vectors = vectors.reshape(-1, vectors.shape[-1])
    if whitening is not None:
        vectors = _change(vectors, whitening.apply, len(whitening.projection), folder)
    if settings.augment_database:
        vectors = _augment(vectors, settings.augment_database, folder)
    return whitening, BaseIndex.build(vectors)


def _draw_fitted(
    landmark_ids: NDArray[np.int64],
    dim: int,
    settings: SearchSettings,
    fitted: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Return the images that whitening is fitted on, ascending: all, or as many as FITTED allows.

    Within classes photos of one landmark are compared: all of some landmarks are drawn.
    """
    rows = np.arange(len(landmark_ids)) if fitted is None else np.flatnonzero(fitted)
    if len(rows) <= (most := max(FITTED // dim, dim + 1)):
        return rows
    generator = np.random.default_rng(0)
    if settings.whiten != "within-class":
        return np.sort(generator.choice(rows, most, replace=False))
    landmarks, classes = np.unique(landmark_ids[rows], return_inverse=True)
    turn = generator.permutation(len(landmarks))[classes]
    return np.sort(rows[np.argsort(turn, kind="stable")[:most]])


def _change(
    vectors: NDArray[np.float32],
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    dim: int,
    folder: Path | None,
) -> NDArray[np.float32]:
    """Return [N, dim] what becomes of vectors, block by block."""
    # Whitening holds five times a block.
    blocks = ((rows, change(block)) for rows, block in iterate_blocks(vectors, BLOCK // 4))
    return store_blocks(blocks, (len(vectors), dim), np.float32, folder)


def _fit_whitening(
    whole: NDArray[np.float32],
    landmark_ids: NDArray[np.int64],
    drawn: NDArray[np.int64],
    settings: SearchSettings,
) -> Whitening | None:
    """Fit whitening on some rows of [N, dim]."""
    if settings.whiten == "none":
        return None
    vectors = gather(whole, drawn)
    if settings.whiten == "within-class":
        return fit_within_class(vectors, landmark_ids[drawn])
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
    most = max(FITTED // (pool.shape[1] * pool.shape[2]), 1)
    drawn = np.random.default_rng(0).permutation(len(pool))[:most]
    pool = gather(pool, np.sort(drawn))
    others = (pool / np.linalg.norm(pool, axis=2, keepdims=True)).mean(axis=(0, 1), dtype=float)
    return replace(whitening, mean=((whitening.mean + others) / 2).astype(np.float32))


def _augment(vectors: NDArray[np.float32], count: int, folder: Path | None) -> NDArray[np.float32]:
    """Add to each vector its nearest ones, ever less of them."""
    index, weights = BaseIndex.build(vectors), np.logspace(0, -1.5, count + 1).tolist()

    def augment() -> Iterator[tuple[Place, NDArray[np.float32]]]:
        for rows, block in iterate_blocks(vectors):
            found = index.search(block, count + 1).rows
            yield rows, augment_database(vectors, found, weights=weights, first=rows.start)

    return store_blocks(augment(), vectors.shape, np.float32, folder)
