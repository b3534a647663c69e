"""Time local features: to find and store them, to read them again, to verify candidates."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.decode import decode_image
from embed.image_file import ImageFile
from embed.parallel import run_parallel
from pipelines.answers.extractors import build_extractor
from pipelines.artifacts import writing
from pipelines.stages.features import BATCHES
from rerank.aggregated import build_aggregated_index, verify_aggregated
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.settings import RerankSettings
from rerank.store import FeatureStore, write_features_part
from rerank.verifier import CHUNK
from rerank.verify import verify_candidates

from .laps import Note, Rate, time_laps
from .rates import NOTHING
from .subject import Subject

MOST = 400  # images whose features are found: enough to verify a hundred candidates
CANDIDATES = 100  # of a query at most: more take as long each
QUERIES = 4  # verified at a time

Verify = Callable[[LocalFeatures, list[LocalFeatures]], object]


@dataclass(frozen=True)
class LocalRates:
    """What local features take."""

    extract: Rate = NOTHING  # an image, stored
    read: Rate = NOTHING  # an image, read again
    verify: Rate = NOTHING  # a query and a candidate
    bytes: float = 0.0  # on disk, of an image


def measure_local(subject: Subject, candidates: float) -> LocalRates:
    """Time the local features of a recipe; all is 0 where it has none.

    Args:
        subject: the model that makes them, if one does, and the images.
        candidates: of a query, on average.
    """
    if subject.recipe.rerank.method == "none":
        return LocalRates()
    extractor = make_extractor(subject)
    images, folder = subject.trial.files, subject.trial.scratch / "features"
    ids: list[str] = []

    def extract(note: Note) -> None:
        size = BATCHES * extractor.batch_size
        while len(ids) < MOST:
            files = [images[(len(ids) + n) % len(images)] for n in range(size)]
            names = [f"{len(ids) + n}" for n in range(size)]
            path = folder / f"part-{len(ids):05d}.parquet"
            with writing(path) as temporary:
                found = _extract(extractor, files)
                write_features_part(temporary, names, found, extractor.fingerprint)
            ids.extend(names)
            note(size)

    extracted = time_laps(extract, subject.trial.seconds)
    store = FeatureStore(folder, extractor.fingerprint)
    volume = sum(path.stat().st_size for path in folder.glob("part-*"))
    started = time.perf_counter()
    features = [store.get(name) for name in ids]
    reading = Rate((time.perf_counter() - started) / len(ids))
    known = [found for found in features if found is not None]
    verified = _time_verifying(subject, known, max(round(candidates), 1))
    return LocalRates(extracted, reading, verified, volume / len(ids))


def make_extractor(subject: Subject) -> FeatureExtractor:
    """Return the extractor of the recipe; one that would be trained has random weights."""
    settings = subject.recipe.rerank
    if settings.method != "delf":
        return build_extractor(Path(), settings)
    from rerank.delf.extractor import DelfExtractor
    from rerank.delf.objective import Objective

    local = Objective(subject.model, settings.delf, subject.head.classes).local.eval()
    # Scores that were not learned say nothing: as many features as may be are kept.
    untrained = settings.delf.model_copy(update={"score_threshold": 0.0})
    return DelfExtractor(subject.model, local, untrained)


def _extract(extractor: FeatureExtractor, files: list[ImageFile]) -> list[LocalFeatures]:
    """Find the features of some images as `pipelines.stages.features` does."""
    if extractor.batch_size == 1:
        return run_parallel(
            lambda file: extractor.extract(decode_image(file, min_side=extractor.min_side)), files
        )
    decode = lambda file: decode_image(file, min_side=extractor.min_side)  # noqa: E731
    return extractor.extract_batch(run_parallel(decode, files))


def _time_verifying(subject: Subject, features: list[LocalFeatures], candidates: int) -> Rate:
    """Time pairs of different images: most candidates are of other things than the query."""
    settings = subject.recipe.rerank
    count = min(candidates, len(features), CANDIDATES)
    chunk = count if settings.matching == "aggregated" else CHUNK
    compare = _make_comparison(settings)
    generator = np.random.default_rng(0)

    def verify(task: tuple[int, list[int]]) -> None:
        query, rows = task
        compare(features[query], [features[row] for row in rows])

    def run(note: Note) -> None:
        while True:
            tasks = []
            for query in generator.integers(len(features), size=QUERIES).tolist():
                rows = generator.permutation(len(features))[:count].tolist()
                tasks += [(query, rows[start : start + chunk]) for start in range(0, count, chunk)]
            run_parallel(verify, tasks)
            note(QUERIES * count)

    return time_laps(run, subject.trial.seconds * 0.7)


def _make_comparison(settings: RerankSettings) -> Verify:
    """Return what compares a query with images as `rerank.verifier` does.

    The index of a class is built for each query. A run keeps the last few, and is faster where
    queries of one class are many.
    """
    if settings.matching == "pairs":
        return lambda query, images: verify_candidates(query, images, settings)
    return lambda query, images: verify_aggregated(query, build_aggregated_index(images), settings)
