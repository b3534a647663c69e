"""Compare queries with images of the database, by their local features, as the settings say.

Knows no neighbours, labels or decisions. Reads a feature store; writes nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embed.meter import Meter
from embed.parallel import count_cores, map_parallel
from index.rows import RowTable

from .aggregated import AggregatedIndex, build_aggregated_index, verify_aggregated
from .features import LocalFeatures
from .geometry import Verification
from .settings import RerankSettings
from .store import StoredFeatures
from .verify import verify_candidates

CHUNK = 10  # candidates verified at a time, at least
INDEXES = 4  # aggregated, that are kept: that of a large class takes 100 MB and more

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Returns the features of a query by its place in the batch; None where it has none.
FindFeatures = Callable[[int], LocalFeatures | None]
Task = tuple[tuple[int, ...], list[int]]  # queries of one photo, rows of the database
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Geometry:
    """What geometry says of Q queries and K database images each; see Evidence."""

    inliers: Ints  # [Q, K]; -1 where not verified
    residuals: Floats  # [Q, K]
    overlaps: Floats  # [Q, K]

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> Self:
        """Return what is known before anything is verified."""
        return cls(
            np.full(shape, -1, dtype=np.int64),
            np.full(shape, np.nan, dtype=np.float32),
            np.zeros(shape, dtype=np.float32),
        )


@dataclass(frozen=True)
class VerifiedImage:
    """A database image with what geometry says of it and a query."""

    row: int  # of the database
    features: LocalFeatures
    verification: Verification


def share_out(candidates: list[Item]) -> list[list[Item]]:
    """Return the candidates of one query in chunks, two a core where there are enough."""
    size = max(CHUNK, -(-len(candidates) // (2 * count_cores())))
    return [candidates[start : start + size] for start in range(0, len(candidates), size)]


@dataclass(frozen=True, eq=False)
class Verifier:
    """Compares queries with images of a database."""

    table: RowTable  # of the database
    features: StoredFeatures  # of these images
    settings: RerankSettings

    def verify(
        self,
        ids: Sequence[str],
        rows: Ints,
        candidates: Bools,
        find_features: FindFeatures,
        geometry: Geometry,
        *,
        meter: Meter | None = None,
    ) -> None:
        """Fill in what geometry says of each query's candidates, where features are there.

        Args:
            ids: [Q] of the queries; those of one id are one photo, which is compared once.
            rows: [Q, K] of the database; -1 is padding, which is no candidate.
            candidates: [Q, K] which of them to verify.
            find_features: local features of query 0 to Q - 1.
            geometry: of the same shape, written into.
            meter: told of pairs of images that are compared, and how many there are.
        """
        meter = meter or Meter()
        find = lru_cache(maxsize=16)(find_features)  # one query's chunks are done together
        candidates = candidates & (rows >= 0)

        def verify(task: Task) -> int:
            queries, images = task
            with meter.working("reading"):
                features = find(queries[0])
            if features is None:
                return len(images)
            for compared in self.compare(features, images, meter):
                fewer = max(min(len(features), len(compared.features)), 1)
                found = compared.verification
                for query in queries:
                    # One place, or none where it is a candidate of another query of this photo.
                    places = query, candidates[query] & (rows[query] == compared.row)
                    geometry.inliers[places] = found.n_inliers
                    geometry.residuals[places] = found.residual
                    geometry.overlaps[places] = found.n_inliers / fewer
            return len(images)

        tasks = self._list_tasks(ids, rows, candidates)
        meter.total += sum(len(images) for _, images in tasks)
        with closing(map_parallel(verify, tasks, pinned=True)) as verified:
            for count in meter.awaited(verified):
                meter.advance(count)

    def compare(
        self, query: LocalFeatures, rows: Sequence[int], meter: Meter | None = None
    ) -> list[VerifiedImage]:
        """Compare one query with database images; those without stored features are left out.

        With aggregated matching, what is found in one image depends on the others.
        """
        meter = meter or Meter()
        if self.settings.matching == "aggregated":
            with meter.working("reading"):
                kept, index = self._aggregate(tuple(rows))
            images: Sequence[LocalFeatures] = index.images
            with meter.working("matching"):
                found = verify_aggregated(query, index, self.settings)
        else:
            with meter.working("reading"):
                kept, images = self._load(rows)
            with meter.working("matching"):
                found = verify_candidates(query, images, self.settings)
        return [VerifiedImage(*each) for each in zip(kept, images, found, strict=True)]

    def _list_tasks(self, ids: Sequence[str], rows: Ints, candidates: Bools) -> list[Task]:
        """Return what is compared at a time: queries of one photo, and rows of the database."""
        whole = self.settings.matching == "aggregated"
        wanted: dict[tuple[str, tuple[int, ...]], tuple[list[int], set[int]]] = {}
        for query, image_id in enumerate(ids):
            chosen = tuple(np.sort(rows[query, candidates[query]]).tolist())
            if not chosen:
                continue
            # Aggregated, what is found in an image depends on the others it is compared with.
            queries, images = wanted.setdefault((image_id, chosen if whole else ()), ([], set()))
            queries.append(query)
            images.update(chosen)
        tasks = [(tuple(queries), sorted(images)) for queries, images in wanted.values()]
        if whole:
            # Queries of one class follow each other, as they share its index.
            return sorted(tasks, key=lambda task: task[1])
        return [(queries, chunk) for queries, images in tasks for chunk in share_out(images)]

    def _load(self, rows: Sequence[int]) -> tuple[list[int], list[LocalFeatures]]:
        """Return those rows whose image has stored features, and these."""
        found = zip(rows, self.features.get_many(self.table.ids(rows)), strict=True)
        known = [(row, features) for row, features in found if features is not None]
        return [row for row, _ in known], [features for _, features in known]

    @cached_property
    def _aggregate(self) -> Callable[[tuple[int, ...]], tuple[list[int], AggregatedIndex]]:
        """Index the images of some rows; the last few indexes are kept."""

        @lru_cache(maxsize=INDEXES)
        def build(rows: tuple[int, ...]) -> tuple[list[int], AggregatedIndex]:
            kept, images = self._load(rows)
            return kept, build_aggregated_index(images)

        return build
