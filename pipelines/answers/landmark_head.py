"""Fit and keep the head that tells landmarks from the non-landmark pool.

Writes and reads landmark_head.json of index/. Imports no torch.
"""

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.landmark_head import LEAST_IMAGES, CrossFittedHead, cross_fit
from embed.errors import InputError
from pipelines.artifacts import write_json

LANDMARK_HEAD = "landmark_head.json"

logger = logging.getLogger(__name__)


def write_landmark_head(
    landmarks: NDArray[np.float32], others: NDArray[np.float32], path: Path
) -> None:
    """Fit a landmark head and write it; of too few images of either kind none is written.

    That is a warning, not an error: a recipe is made for datasets with and without a pool, and what
    cannot do without the head says so.

    Args:
        landmarks: [N, dim] descriptors of the database as embedded, in the order of its rows.
        others: [P, dim] those of the first half of the non-landmark pool.
        path: of the file.

    Raises:
        ValueError: descriptors of different lengths or not finite.
    """
    if min(len(landmarks), len(others)) < LEAST_IMAGES:
        logger.warning(
            "no landmark head: %d photos in the database and %d in the half of non_landmark that "
            "it may learn from, it needs %d of each; list %d or more in non_landmark.csv",
            *(len(landmarks), len(others), LEAST_IMAGES, 2 * LEAST_IMAGES),
        )
        return
    write_json(cross_fit(landmarks, others).to_json(), path)


def load_landmark_head(path: Path) -> CrossFittedHead:
    """Read a landmark head.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return CrossFittedHead.from_json(json.loads(path.read_bytes()))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no landmark head ({error}); run `cairn index --redo`"
        ) from error
