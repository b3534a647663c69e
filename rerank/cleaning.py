"""Tell which images of a noisy training set show what their label says, by their neighbours.

An image whose nearest images of the same label show the same place under one transform is worth
training on; an interior among facades, a map or a wrong label finds no such company. Knows rows
and labels, not files. Reads and writes no files.

Source: the cleaning by which the third place of the 2019 Google Landmark challenges made the clean
set of Google Landmarks v2: Yokoo et al., "Two-stage Discriminative Re-ranking for Large-scale
Landmark Retrieval", CVPR Workshops 2020, of the data set of Weyand et al., "Google Landmarks
Dataset v2", CVPR 2020. Theirs counted inliers of DELF features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError

from .features import LocalFeatures
from .settings import RerankSettings
from .verify import verify_candidates


@dataclass(frozen=True)
class CleaningSettings:
    """What an image needs to be kept; the defaults are the published ones."""

    neighbors: int = 1000  # nearest images, of any label, among which company is sought
    candidates: int = 100  # of these, images of the same label that are verified, nearest first
    min_images: int = 2  # candidates that must be verified; 3 is the stricter published choice
    min_inliers: int = 30  # inliers that verify a candidate

    def __post_init__(self) -> None:
        """Raise InputError for a number below 1, or more images asked for than are looked at."""
        for name in ("neighbors", "candidates", "min_images", "min_inliers"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, must be at least 1")
        most = min(self.neighbors, self.candidates)
        if self.min_images > most:
            raise InputError(
                f"min_images is {self.min_images}, but at most {most} neighbours are verified; "
                "no image could be kept"
            )


def same_label_candidates(
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    most: int = 100,
) -> NDArray[np.int64]:
    """Keep, of each image's neighbours, the first few with the image's own label.

    The image itself, which a search among all finds, is no neighbour of its own.

    >>> labels = np.array([7, 7, 8, 7])
    >>> same_label_candidates(labels, np.array([0, 2]), np.array([[0, 2, 3, 1], [2, 1, 0, -1]]), 3)
    array([[ 3,  1, -1],
           [-1, -1, -1]])

    Args:
        labels: [N] label of each image of the training set.
        images: [Q] rows of the images whose neighbours these are.
        neighbors: [Q, K] rows of their neighbours, nearest first; -1 is padding.
        most: neighbours kept of an image, at least 1.

    Returns:
        [Q, most] rows, nearest first, padded with -1.

    Raises:
        InputError: Q differs, or most is below 1.
    """
    if neighbors.ndim != 2 or images.shape != neighbors.shape[:1]:
        raise ValueError(
            f"images {images.shape} and neighbors {neighbors.shape}, want [Q] and [Q, K]"
        )
    if most < 1:
        raise ValueError(f"most is {most}, must be at least 1")
    own = images[:, None]
    same = (neighbors >= 0) & (neighbors != own) & (labels[neighbors] == labels[own])
    first = np.argsort(~same, axis=1, kind="stable")[:, :most]  # keeps the order of the nearest
    found = np.where(same, neighbors, -1)
    candidates = np.full((len(neighbors), most), -1, dtype=np.int64)
    candidates[:, : first.shape[1]] = np.take_along_axis(found, first, axis=1)
    return candidates


def count_inliers(
    image: LocalFeatures,
    candidates: Iterable[LocalFeatures],
    geometry: RerankSettings,
    settings: CleaningSettings,
) -> list[int]:
    """Verify an image against its candidates, nearest first, until enough of them agree.

    What comes after that cannot change whether the image is kept, and is most of the work: of a
    good image's 100 candidates often 2 or 3 are verified. Candidates are taken one by one, so a
    generator loads no more of them than are looked at.

    Returns:
        Inliers of the candidates that were verified, in their order.
    """
    remaining = iter(candidates)
    inliers: list[int] = []
    missing = settings.min_images
    # As many at a time as are missing: with fewer there would not be enough.
    while missing and (batch := list(islice(remaining, missing))):
        verified = [result.n_inliers for result in verify_candidates(image, batch, geometry)]
        missing -= sum(count >= settings.min_inliers for count in verified)
        inliers += verified
    return inliers


def count_verified(inliers: NDArray[np.integer], min_inliers: int = 30) -> NDArray[np.int64]:
    """Count the candidates of each image that have at least so many inliers.

    Args:
        inliers: [N, C] inliers of each image's candidates; -1 where none was verified.
        min_inliers: at least 1.

    Returns:
        [N] int64.

    Raises:
        InputError: inliers are no matrix, or min_inliers is below 1: padding would count.
    """
    if inliers.ndim != 2 or min_inliers < 1:
        raise ValueError(
            f"inliers {inliers.shape} and min_inliers {min_inliers}, want [N, C] and 1 or more"
        )
    return np.asarray((inliers >= min_inliers).sum(axis=1), dtype=np.int64)


def keep_images(
    inliers: NDArray[np.integer], min_images: int = 2, min_inliers: int = 30
) -> NDArray[np.bool_]:
    """Keep the images that enough others of their label confirm.

    >>> keep_images(np.array([[50, 30, 0], [90, 29, -1]]))
    array([ True, False])

    Args:
        inliers: [N, C] inliers of each image's candidates; -1 where none was verified.
        min_images: candidates that must have min_inliers.
        min_inliers: at least 1.

    Returns:
        [N], True where the image is kept.

    Raises:
        InputError: as count_verified.
    """
    return np.asarray(count_verified(inliers, min_inliers) >= min_images)


def keep_classes(
    labels: NDArray[np.int64], kept: NDArray[np.bool_], min_images: int = 2
) -> NDArray[np.bool_]:
    """Leave out the classes of which too few images are kept to learn from.

    >>> keep_classes(np.array([4, 4, 9, 9]), np.array([True, True, True, False]))
    array([ True,  True, False, False])

    Args:
        labels: [N] label of each image.
        kept: [N], True where the image itself is kept.
        min_images: kept images that a class needs.

    Returns:
        [N], True where the image and its class are kept.

    Raises:
        InputError: shapes differ.
    """
    if labels.shape != kept.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and kept {kept.shape}, want [N] both")
    distinct, inverse = np.unique(labels, return_inverse=True)
    sizes = np.bincount(inverse, weights=kept, minlength=len(distinct))
    return kept & (sizes[inverse] >= min_images)
