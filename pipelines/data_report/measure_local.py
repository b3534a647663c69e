"""Time local features: to find and store them, to read them again, to verify candidates."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.decode import decode_image
from embed.image_file import ImageFile
from rerank.features import FeatureExtractor, LocalFeatures
from rerank.store import FeatureStore, write_features_part
from rerank.verify import verify_candidates

from ..artifacts import writing
from ..extractors import build_extractor
from ..features import BATCHES
from ..parallel import run_parallel
from ..verifier import CHUNK, verify_settings
from .laps import Note, Rate, time_laps
from .rates import NOTHING
from .subject import Subject

MOST = 400  # images whose features are found: enough to verify a hundred candidates
QUERIES = 4  # verified at a time


@dataclass(frozen=True)
class LocalRates:
    """What local features take."""

    extract: Rate = NOTHING  # an image, stored
    read: Rate = NOTHING  # an image, read again
    verify: Rate = NOTHING  # a query and a candidate
    bytes: float = 0.0  # on disk, of an image


def measure_local(subject: Subject) -> LocalRates:
    """Time the local features of a recipe; all is 0 where it has none."""
    if subject.recipe.rerank.method == "none":
        return LocalRates()
    extractor = make_extractor(subject)
    folder = subject.scratch / "features"
    ids: list[str] = []

    def extract(note: Note) -> None:
        size = BATCHES * extractor.batch_size
        while len(ids) < MOST:
            files = [subject.files[(len(ids) + n) % len(subject.files)] for n in range(size)]
            names = [f"{len(ids) + n}" for n in range(size)]
            path = folder / f"part-{len(ids):05d}.parquet"
            with writing(path) as temporary:
                found = _extract(extractor, files)
                write_features_part(temporary, names, found, extractor.fingerprint)
            ids.extend(names)
            note(size)

    extracted = time_laps(extract, subject.seconds)
    store = FeatureStore(folder, extractor.fingerprint)
    volume = sum(path.stat().st_size for path in folder.glob("part-*"))
    started = time.perf_counter()
    features = [store.get(name) for name in ids]
    reading = Rate((time.perf_counter() - started) / len(ids))
    known = [found for found in features if found is not None]
    return LocalRates(extracted, reading, _time_verifying(subject, known), volume / len(ids))


def make_extractor(subject: Subject) -> FeatureExtractor:
    """Return the extractor of the recipe; one that would be trained has random weights."""
    settings = subject.recipe.rerank
    if settings.method != "delf":
        return build_extractor(Path(), settings)
    from rerank.delf.extractor import DelfExtractor
    from rerank.delf.objective import Objective

    local = Objective(subject.model, settings.delf, subject.classes).local.eval()
    # Scores that were not learned say nothing: as many features as may be are kept.
    untrained = settings.delf.model_copy(update={"score_threshold": 0.0})
    return DelfExtractor(subject.model, local, untrained)


def _extract(extractor: FeatureExtractor, files: list[ImageFile]) -> list[LocalFeatures]:
    """Find the features of some images as `pipelines.features` does."""
    if extractor.batch_size == 1:
        return run_parallel(
            lambda file: extractor.extract(decode_image(file, min_side=extractor.min_side)), files
        )
    decode = lambda file: decode_image(file, min_side=extractor.min_side)  # noqa: E731
    return extractor.extract_batch(run_parallel(decode, files))


def _time_verifying(subject: Subject, features: list[LocalFeatures]) -> Rate:
    """Time pairs of different images: most candidates are of other things than the query."""
    settings = verify_settings(subject.recipe.rerank)
    candidates = min(subject.recipe.rerank.candidates, len(features))
    generator = np.random.default_rng(0)

    def verify(task: tuple[int, list[int]]) -> None:
        query, rows = task
        verify_candidates(features[query], [features[row] for row in rows], settings)

    def run(note: Note) -> None:
        while True:
            tasks = []
            for query in generator.integers(len(features), size=QUERIES).tolist():
                rows = generator.permutation(len(features))[:candidates].tolist()
                tasks += [
                    (query, rows[start : start + CHUNK]) for start in range(0, candidates, CHUNK)
                ]
            run_parallel(verify, tasks)
            note(QUERIES * candidates)

    return time_laps(run, subject.seconds * 0.7)
