"""Hold what is known of queries before they are answered. Knows no policy, reads no files."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

NEAREST_OF_POOL = 10  # cosines of a query to the non-landmark pool that are kept
NEAREST_OF_NEIGHBOR = 5  # cosines of a database image to the non-landmark pool that are kept
UNASKED = np.empty(0, dtype=np.float32)  # stands for nan for each query


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of Q queries, each with K neighbours, nearest first.

    Attributes:
        query_ids: [Q].
        labels: [Q, K] int64, landmark of each neighbour; -1 is padding.
        similarities: [Q, K] float32, cosine to each neighbour, descending; of refined descriptors
            where the search refines them (rerank.superglobal).
        inliers: [Q, K] int64, matches that one transform explains; -1 where a neighbour was not
            verified.
        residuals: [Q, K] float32, median distance of the inliers from where the transform puts
            them, pixels of an image whose longer side is 512; nan without a transform.
        overlaps: [Q, K] float32, inliers divided by the features of the image that has fewer, 0 to
            1; 0 where not verified. Near-duplicates are near 1.
        sizes: [Q, K] int64, database images of the neighbour's landmark; 0 for padding.
        query_pool: [Q, P] float32, the largest cosines of the query to images without a landmark,
            descending; P is at most NEAREST_OF_POOL, 0 without a pool.
        neighbor_pool: [Q, K, G] float32, the same of each neighbour; G at most NEAREST_OF_NEIGHBOR.
        head_labels: [Q, H] int64, the classes that the classification head finds most likely,
            descending; H may be 0.
        head_scores: [Q, H] float32, cosine of the query to the direction of each such class.
        landmark: [Q] float32, the probability that the query shows any landmark, by a head of its
            own (see landmark_head); nan without one, as for all queries where it is left out.

    Raises:
        ValueError: a shape or dtype is wrong.
    """

    query_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    similarities: NDArray[np.float32]
    inliers: NDArray[np.int64]
    residuals: NDArray[np.float32]
    overlaps: NDArray[np.float32]
    sizes: NDArray[np.int64]
    query_pool: NDArray[np.float32]
    neighbor_pool: NDArray[np.float32]
    head_labels: NDArray[np.int64]
    head_scores: NDArray[np.float32]
    landmark: NDArray[np.float32] = field(default_factory=lambda: UNASKED)

    _INTEGERS: ClassVar = ("labels", "inliers", "sizes", "head_labels")

    def __post_init__(self) -> None:
        """Check every array."""
        q, k = self.labels.shape
        if self.landmark is UNASKED:
            object.__setattr__(self, "landmark", np.full(q, np.nan, dtype=np.float32))
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(self.arrays, (q, k))
        shapes["query_pool"] = (q, self.query_pool.shape[-1])
        shapes["neighbor_pool"] = (q, k, self.neighbor_pool.shape[-1])
        shapes["head_labels"] = shapes["head_scores"] = (q, self.head_labels.shape[-1])
        shapes["landmark"] = (q,)
        if len(self.query_ids) != q:
            raise ValueError(f"{len(self.query_ids)} query ids for labels of {q} queries")
        for name, shape in shapes.items():
            array, dtype = getattr(self, name), np.int64 if name in self._INTEGERS else np.float32
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
                )

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        names = [each.name for each in fields(self) if each.name != "query_ids"]
        return {name: getattr(self, name) for name in names}

    @property
    def has_pool(self) -> bool:
        """Whether there are images without a landmark to compare with."""
        return bool(self.query_pool.shape[1])

    def __len__(self) -> int:
        """Return Q, the number of queries."""
        return len(self.query_ids)

    def take(self, rows: Any) -> Self:
        """Return the evidence of some queries: a slice, or an index array."""
        places = np.arange(len(self))[rows]
        ids = tuple(self.query_ids[place] for place in places)
        return type(self)(ids, **{name: array[places] for name, array in self.arrays.items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put the evidence of queries, with as many neighbours each, behind one another."""
        ids = tuple(query_id for part in parts for query_id in part.query_ids)
        arrays = [part.arrays for part in parts]
        return cls(ids, **{name: np.concatenate([of[name] for of in arrays]) for name in arrays[0]})

    def without_landmarks(self, landmarks: NDArray[np.int64]) -> Self:
        """Return the evidence as if neither database nor head knew some landmarks [L]."""
        found = self.without(np.isin(self.labels, landmarks))
        unknown = np.isin(self.head_labels, landmarks)
        order = np.argsort(unknown, axis=1, kind="stable")
        padding = np.take_along_axis(unknown, order, axis=1)
        labels = np.take_along_axis(self.head_labels, order, axis=1)
        scores = np.take_along_axis(self.head_scores, order, axis=1)
        return replace(
            found,
            head_labels=np.where(padding, -1, labels),
            head_scores=np.where(padding, np.float32(0), scores),
        )

    def without(self, dropped: NDArray[np.bool_]) -> Self:
        """Return the evidence as if the neighbours marked in [Q, K] were not in the database.

        Those that remain move up, and padding takes their place.
        """
        order = np.argsort(dropped, axis=1, kind="stable")
        padding = np.take_along_axis(dropped, order, axis=1)
        moved = dict(self.arrays)
        fills = {"labels": -1, "similarities": -1.0, "inliers": -1, "residuals": np.nan}
        for name in ("labels", "similarities", "inliers", "residuals", "overlaps", "sizes"):
            moved[name] = np.take_along_axis(moved[name], order, axis=1)
            moved[name][padding] = fills.get(name, 0)
        moved["neighbor_pool"] = np.take_along_axis(self.neighbor_pool, order[..., None], axis=1)
        moved["neighbor_pool"][padding] = 0
        return type(self)(self.query_ids, **moved)
