"""Count inliers with other people's code: the recipe of public DELF code, poselib, DEGENSAC.

Reads and writes no files. Each library is imported where it is used.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Points = NDArray[np.float64]  # [M, 2]
# Returns the inliers of points of both images at a threshold in pixels.
Estimator = Callable[[Points, Points, float], int]
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]  # keypoints, descriptors of length 1


def count_poselib(points0: Points, points1: Points, threshold: float) -> int:
    """Return the inliers of poselib's homography; its defaults, 1000 iterations."""
    import poselib

    options = {"max_reproj_error": threshold, "max_iterations": 1000}
    _, found = poselib.estimate_homography(points0, points1, options, {})
    return int(found["num_inliers"])


def count_pydegensac(points0: Points, points1: Points, threshold: float) -> int:
    """Return the inliers of DEGENSAC's homography; its defaults, 1000 iterations."""
    import pydegensac

    _, inliers = pydegensac.findHomography(points0, points1, threshold, 0.999, 1000, seed=1)
    return int(np.sum(inliers))


def count_reference(task: tuple[Arrays, Sequence[Arrays]]) -> list[int]:
    """Count inliers as public DELF code does: nearest within .8, then RANSAC, affine, 20 pixels.

    Source: DELF's example match_images.py. The query's tree serves all of its candidates.
    """
    from scipy.spatial import cKDTree
    from skimage.measure import ransac
    from skimage.transform import AffineTransform

    (keypoints0, descriptors0), candidates = task
    if not len(descriptors0):
        return [0] * len(candidates)
    tree, counts = cKDTree(descriptors0), []
    for keypoints1, descriptors1 in candidates:
        _, nearest = tree.query(descriptors1, distance_upper_bound=0.8)
        found = nearest < len(descriptors0)
        points = (keypoints0[nearest[found]], keypoints1[found])
        inliers = None
        if found.sum() > 3:
            _, inliers = ransac(
                points,
                AffineTransform,
                min_samples=3,
                residual_threshold=20,
                max_trials=1000,
                rng=0,
            )
        counts.append(0 if inliers is None else int(inliers.sum()))
    return counts


@contextmanager
def process_pool() -> Iterator[ProcessPoolExecutor]:
    """Start a process a core: most of the reference is Python, which threads would share."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, threadpool_limits, (1,)) as pool:
        yield pool
