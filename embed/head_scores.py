"""What a classification head says of images: its likeliest classes, likeliest first.

Knows no head: a record that stages hand on, beside the global descriptors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 10  # of an image that are kept


@dataclass(frozen=True, eq=False)
class HeadScores:
    """The H likeliest classes of N images, in the order that the head prefers them.

    Attributes:
        labels: [N, H] int64, landmark_id of each class; H may be 0.
        scores: [N, H] float32, the cosine to the class's direction where the head has directions,
            else the probability.
        probabilities: [N, H] float32, softmax over all classes of the head.

    Raises:
        ValueError: a shape or dtype is wrong.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check every array."""
        found: dict[str, tuple[NDArray[Any], type]] = {
            "labels": (self.labels, np.int64),
            "scores": (self.scores, np.float32),
            "probabilities": (self.probabilities, np.float32),
        }
        for name, (array, dtype) in found.items():
            if array.ndim != 2 or array.shape != self.labels.shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} are {array.dtype} {array.shape}, expected {np.dtype(dtype)} "
                    f"{self.labels.shape} of two dimensions"
                )

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.labels)

    def take(self, rows: Any) -> Self:
        """Return the scores of some images: a slice, or an index array."""
        return type(self)(self.labels[rows], self.scores[rows], self.probabilities[rows])

    @classmethod
    def none(cls, count: int, classes: int = 0) -> Self:
        """Return what is known of images without a head: nothing, or classes of no weight."""
        shape = (count, classes)
        scores = np.zeros(shape, dtype=np.float32)
        return cls(np.full(shape, -1, dtype=np.int64), scores, scores.copy())

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the scores of the images of all parts, one part after the other."""
        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )
