"""Stage `query`: which known thing is in these photos?

Reads a run folder and the photos. Writes nothing. Everything is loaded once, then each photo takes
one forward pass, one search and the verification of its candidates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embed.decode import ImageError, decode_image
from embed.extract import describe_pixels, pick_device
from embed.model import DescriptorModel, load_model

from .job import read_run
from .prepare import build_extractor, open_recognizer
from .recipe import Recipe, make_recipe
from .recognition import Evidence, Recognizer


@dataclass(frozen=True)
class Match:
    """One neighbour of a photo."""

    image_id: str
    landmark_id: int
    name: str
    similarity: float  # cosine
    inliers: int | None  # None where it was not verified


@dataclass(frozen=True)
class Recognition:
    """The answer to one photo; error is set, and nothing else, where it could not be read."""

    image: str
    landmark_id: int | None = None
    name: str | None = None
    confidence: float = 0.0
    reason: str = ""  # why there is no known landmark
    neighbors: tuple[Match, ...] = ()
    error: str = ""


class QueryEngine:
    """A run, loaded and ready to be asked."""

    def __init__(self, run: Path) -> None:
        """Load model, index, features and threshold.

        Raises:
            FileNotFoundError: the run is not there, or not indexed.
            ValueError: its parts do not belong together.
        """
        recorded = read_run(run)
        if recorded is None:
            raise FileNotFoundError(
                f"no run in {run}; make one: cairn index --data FOLDER --run {run}"
            )
        self.recipe: Recipe = make_recipe(recorded["settings"], str(run))
        model, fingerprint = load_model(run / "model")
        self.model: DescriptorModel = model.to(pick_device())
        self.recognizer: Recognizer = open_recognizer(run, self.recipe, fingerprint)
        if self.recognizer.features is not None:
            self.extractor = build_extractor(self.recipe.rerank)

    def ask(self, path: Path, neighbors: int = 5) -> Recognition:
        """Recognise one photo; a photo that cannot be read is an answer with an error."""
        limit = self.recipe.decode.max_pixels
        features = None
        try:
            # Decoded for each use as stages `embed` and `index` do: a JPEG that is scaled down
            # while it is decoded differs a little from one that is resized after.
            image = decode_image(path, min_side=self.model.spec.image_size, max_pixels=limit)
            if self.recognizer.features is not None:
                detailed = decode_image(
                    path, min_side=self.recipe.rerank.max_side, max_pixels=limit
                )
                features = self.extractor.extract(detailed)
        except ImageError as error:
            return Recognition(str(path), error=str(error))
        vector = describe_pixels(self.model, image.pixels)
        evidence = self.recognizer.gather([str(path)], vector, lambda query: features)
        prediction = self.recognizer.predict(evidence)[0]
        known = prediction.landmark_id
        return Recognition(
            str(path),
            known,
            None if known is None else self.recognizer.name(known),
            prediction.confidence,
            prediction.reason,
            tuple(self._matches(evidence, neighbors)),
        )

    def _matches(self, evidence: Evidence, count: int) -> Iterator[Match]:
        """Yield the nearest neighbours of the one query."""
        rows, scores = evidence.neighbors.rows[0], evidence.neighbors.scores[0]
        for rank in range(min(count, len(rows))):
            if rows[rank] < 0:
                return
            landmark_id = int(evidence.labels[0, rank])
            inliers = int(evidence.inliers[0, rank])
            yield Match(
                self.recognizer.database.image_ids[rows[rank]],
                landmark_id,
                self.recognizer.name(landmark_id),
                float(scores[rank]),
                inliers if inliers >= 0 else None,
            )
