"""Find the photos behind the answers of a run: neighbours, and what speaks most for a label.

Reads the dataset's photos and, of a run, index/, features/, embeddings/test/, neighbors.parquet
and verified.parquet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from embed.errors import MissingFileError
from embed.image_file import ImageFile
from embed.shards import Embeddings
from pipelines.answers.database import Database, load_database
from pipelines.answers.live import find_file
from pipelines.answers.open_run import layer_features, load_split_embeddings, open_features
from pipelines.answers.supporters import measure_strength, name_landmark, order_supporters
from pipelines.artifacts import load_manifest
from pipelines.runs.job import Job
from rerank.geometry import Verification
from rerank.store import StoredFeatures
from rerank.verifier import Verifier

from .neighbors import Neighbor, read_neighbors
from .pairs import (
    NO_PHOTO,
    PagePhoto,
    count_lines,
    describe,
    draw_compared,
    name_place,
    read_photo,
    show_photo,
    to_picture,
)
from .pictures import PAIR_BOX
from .records import Picture


@dataclass(frozen=True)
class Album:
    """The photos of a run, and the neighbours of some queries."""

    job: Job
    database: Database
    # By query id, nearest first; and what else was verified.
    neighbors: dict[str, list[Neighbor]]
    features: tuple[StoredFeatures, StoredFeatures] | None  # of test and database; None: not made

    def name(self, landmark_id: int) -> str:
        """Return what the landmark is called."""
        for names in (self.job.dataset.names, self.database.names):
            if landmark_id in names:
                return names[landmark_id]
        return f"landmark {landmark_id}"

    def has_photo(self, landmark_id: int) -> bool:
        """Tell whether the database shows a landmark."""
        return len(self.database.rows.rows_of_landmark(landmark_id)) > 0

    def find_best(self, query_id: str, landmark_id: int) -> Neighbor | None:
        """Return the database photo that speaks most for a landmark.

        That is the strongest neighbour. Where no neighbour shows the landmark, it is the most
        similar of its photos. None if it has no photo, or the query could not be read.
        """
        near = [found for found in self.neighbors[query_id] if found.label == landmark_id]
        if near:
            return max(near, key=measure_strength)
        rows = self.database.rows.rows_of_landmark(landmark_id)
        place = self._query_rows.get(query_id)
        if place is None or not len(rows):
            return None
        vectors = self._queries.all_vectors[place : place + 1]
        if self.database.whitening is not None:
            vectors = self.database.whitening.apply_all(vectors)
        cosines = self.database.images.cosines(vectors[0], rows)
        best = int(np.argmax(cosines))
        image_id = self.database.rows.image_id(rows[best])
        return Neighbor(image_id, landmark_id, None, float(cosines[best]), None)

    def find_supporters(self, query_id: str, landmark_id: int | None, count: int) -> list[Neighbor]:
        """Return neighbours that speak for a landmark, then those that speak for another."""
        return order_supporters(self.neighbors[query_id], landmark_id, count)

    def show_pair(self, query_id: str, near: Neighbor | None, title: str) -> Picture:
        """Return the query beside a database photo, or beside an empty place, and how near it is.

        Inliers are counted again from the stored features, as those far away have none yet.
        """
        found = None if near is None else self.verify(query_id, near)
        inliers = None if found is None else found.n_inliers
        drawn = self.draw_pair(query_id, near, found)
        if near is None:
            return to_picture(drawn, f"{query_id}, and no photo beside it", title)
        ranks = [known.rank for known in self.neighbors[query_id] if known.rank is not None]
        place = f"not among the {len(ranks)} nearest"
        if near.rank is not None:
            place = name_place(near.rank)
        note = describe(place, near.similarity, inliers)
        alt = f"{query_id} beside {near.image_id}{count_lines(found)}"
        return to_picture(drawn, alt, title, note)

    def draw_pair(
        self,
        query_id: str,
        near: Neighbor | None,
        found: Verification | None,
        box: tuple[int, int] = PAIR_BOX,
    ) -> Image.Image:
        """Return the query beside a database photo, or beside an empty place, each in a box."""
        other = NO_PHOTO if near is None else self._read(near.image_id, 1, box)
        return draw_compared(self._read(query_id, 0, box), other, found, box)

    def verify(self, query_id: str, near: Neighbor) -> Verification | None:
        """Compare a query with a database photo as the run did; None without local features."""
        query = self.features[0].get(query_id) if self.features else None
        row = self.database.rows.row_of(near.image_id)
        if query is None or row < 0:
            return None
        rows = {row}
        if self.job.recipe.rerank.matching == "aggregated" and near.inliers is not None:
            verified = [each for each in self.neighbors[query_id] if each.inliers is not None]
            rows |= {self.database.rows.row_of(each.image_id) for each in verified}
        found = {
            each.row: each.verification for each in self._verifier.compare(query, sorted(rows))
        }
        return found.get(row)

    def show_neighbor(self, near: Neighbor, landmark_id: int | None) -> Picture:
        """Return the thumbnail of a neighbour, marked if it shows another landmark."""
        place = "" if near.rank is None else name_place(near.rank)
        note = describe(place, near.similarity, near.inliers)
        photo = read_photo(self._find(near.image_id), self.job.max_pixels)
        title = name_landmark(near, landmark_id, self.name(near.label))
        return show_photo(photo, near.image_id, title, note)

    def _read(self, image_id: str, side: int, box: tuple[int, int]) -> PagePhoto:
        """Read a query (side 0) or a database photo (side 1) with its features."""
        features = self.features[side].get(image_id) if self.features else None
        path = self._find(image_id) if side else self.job.dataset.find_photo(image_id)
        return read_photo(path, self.job.max_pixels, features, box)

    def _find(self, image_id: str) -> ImageFile | None:
        """Return what is shown of a photo of the database: of the dataset, or added since."""
        added = find_file(self.database.added, image_id)
        return self.job.dataset.find_photo(image_id) if added is None else added

    @cached_property
    def _verifier(self) -> Verifier:
        assert self.features is not None
        return Verifier(self.database.rows, self.features[1], self.job.recipe.rerank)

    @cached_property
    def _queries(self) -> Embeddings:
        return load_split_embeddings(self.job.run, "test")

    @cached_property
    def _query_rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self._queries.ids)}


def open_album(job: Job, query_ids: Sequence[str]) -> Album:
    """Open a run to show some of its queries.

    Raises:
        MissingFileError: the run has no index, or not the features that its recipe asks for.
    """
    manifest = load_manifest(job.run / "index")
    if manifest is None:
        raise MissingFileError(
            f"no complete index in {job.run}; make it: cairn submit --run {job.run}"
        )
    database = load_database(job.run, str(manifest.model["fingerprint"]))
    stores = (
        open_features(job.run, "test", job.recipe),
        layer_features(
            open_features(job.run, database.split, job.recipe),
            database.added,
            *(job.run, job.recipe),
        ),
    )
    features = (stores[0], stores[1]) if stores[0] is not None and stores[1] is not None else None
    return Album(job, database, read_neighbors(job, query_ids), features)
