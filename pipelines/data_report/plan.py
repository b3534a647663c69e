"""Plan the stages of a run: time, disk and memory, from what there is to do and how fast it goes.

Arithmetic alone: measures nothing, reads and writes no files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..recipe import Recipe
from .laps import Rate
from .rates import Rates
from .workload import Workload

# Bytes, as measured for CPython 3.11 on 64 bits.
ID = 80  # of an image id of 16 letters and its place in a tuple
PLACE = 200  # of an id in a dictionary, with the part and the row of its features
ROW = 50  # of an id and a label on disk, not compressed
NEIGHBOR = 36  # of a neighbour of a query, in all tables of answers
EVIDENCE = 80  # of a neighbour of a query in memory
NUMBER = 4  # float32
CACHED = 2000  # images whose features a store keeps in memory


@dataclass(frozen=True)
class Part:
    """A piece of work of a stage."""

    kind: str  # what advice is given by
    what: str
    seconds: float = 0.0  # on the machine as busy as it is
    alone: float = 0.0  # seconds, if no other program used the processor
    disk: float = 0.0  # bytes that are kept


@dataclass(frozen=True)
class StagePlan:
    """What a stage takes besides what those before it took."""

    stage: str
    parts: tuple[Part, ...]
    memory: Mapping[str, float]  # bytes by what they are for, at their most
    scratch: float = 0.0  # bytes on disk that are only needed meanwhile

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts)

    @property
    def alone(self) -> float:
        """Of all parts, if no other program used the processor."""
        return sum(part.alone for part in self.parts)

    @property
    def disk(self) -> float:
        """Of all parts."""
        return sum(part.disk for part in self.parts)

    @property
    def total_memory(self) -> float:
        """Of all that is in memory."""
        return sum(self.memory.values())


def plan_stages(
    work: Workload, rates: Rates, recipe: Recipe, workers: int
) -> tuple[StagePlan, ...]:
    """Plan train, embed, index and, where there are test images, submit, in this order."""
    stages = [
        _plan_training(work, rates, recipe, workers),
        _plan_embedding(work, rates, recipe),
        _plan_indexing(work, rates, recipe),
    ]
    return (*stages, _plan_submission(work, rates, recipe)) if work.test else tuple(stages)


def _part(kind: str, what: str, rate: Rate, items: float, disk: float = 0.0) -> Part:
    return Part(kind, what, rate.seconds * items, rate.alone * items, disk)


def _plan_training(work: Workload, rates: Rates, recipe: Recipe, workers: int) -> StagePlan:
    head = NUMBER * work.classes * recipe.train.dim
    model = NUMBER * rates.model_values
    epochs, images = work.epochs, work.epoch_images
    parts = [Part("model", f"model, and a head of {work.classes:,} classes", disk=model + head)]
    if epochs:
        what = f"{epochs} epochs of {images:,} images"
        parts.append(_part("train", what, rates.train, epochs * images))
        what = f"after each, {work.validated:,} described to validate"
        parts.append(_part("validate", what, rates.validate, epochs * work.validated))
    if recipe.rerank.method == "delf":
        again = recipe.rerank.delf.epochs + 1  # once more for the scores and the reduction
        what = f"DELF: {again} times {work.training:,} images"
        parts.append(_part("train", what, rates.delf, again * work.training))
    memory = {
        "libraries": rates.memory.libraries,
        "batches": rates.memory.training,
        # The best epoch's copy; what training itself needs of both is in the batches.
        "model and head": model + head,
        # Each process that decodes touches all of them, and so gets a copy of its own.
        "ids": work.training * ID * (1 + workers),
    }
    # Weights, two numbers for each by the optimizer, and the best weights; the old file is
    # replaced by a whole new one.
    scratch = 2 * 4 * (model + head) if epochs else 0
    return StagePlan("train", tuple(parts), memory, scratch)


def _plan_embedding(work: Workload, rates: Rates, recipe: Recipe) -> StagePlan:
    dim, count = recipe.train.dim, work.embedded
    width = 2 if recipe.embed.dtype == "float16" else NUMBER
    views = len(recipe.embed.scales) * (1 + recipe.embed.flip)
    seen = "1 view each" if views == 1 else f"{views} views each"
    what = f"{count:,} images to {dim} numbers, {seen}"
    largest = max(work.database, work.pool, work.test)
    memory = {
        "libraries": rates.memory.libraries,
        "batches": rates.memory.describing,
        "ids": largest * ID,
    }
    disk = count * (dim * width + ROW)
    return StagePlan("embed", (_part("describe", what, rates.describe, count, disk),), memory)


def _plan_indexing(work: Workload, rates: Rates, recipe: Recipe) -> StagePlan:
    dim = recipe.train.dim
    vectors = NUMBER * work.database * dim
    parts = []
    if work.candidates:
        parts.append(_plan_features("database", work.indexed, rates, recipe))
    what = f"exact index of {work.database:,} x {dim} numbers"
    parts.append(Part("index", what, disk=vectors + ROW * work.database))
    parts += _plan_queries("queries of known answer", work.known, work, rates, recipe)
    memory = {
        "libraries": rates.memory.libraries,
        "descriptors": 3 * vectors,  # as read, put together, and in the index
        "ids": work.database * (ID + _place(work)),
        "features": min(CACHED, work.database) * rates.feature_bytes,
        "queries": EVIDENCE * work.known * work.neighbors,
    }
    return StagePlan("index", tuple(parts), memory)


def _plan_submission(work: Workload, rates: Rates, recipe: Recipe) -> StagePlan:
    parts = []
    if work.candidates:
        parts.append(_plan_features("test", work.test, rates, recipe))
    parts += _plan_queries("test images", work.test, work, rates, recipe)
    tables = NEIGHBOR * work.test * work.neighbors
    parts.append(Part("answers", f"answers and neighbours of {work.test:,}", disk=tables))
    memory = {
        "libraries": rates.memory.libraries,
        "descriptors": NUMBER * work.database * recipe.train.dim,
        "ids": work.database * (2 * ID + _place(work)) + work.test * ID,
        "features": 2 * min(CACHED, work.database) * rates.feature_bytes,
        "queries": EVIDENCE * work.test * work.neighbors,
    }
    return StagePlan("submit", tuple(parts), memory)


def _place(work: Workload) -> int:
    return PLACE if work.candidates else 0


def _plan_features(of: str, images: int, rates: Rates, recipe: Recipe) -> Part:
    what = f"local features of {images:,} {of} images ({recipe.rerank.method})"
    disk = images * (rates.feature_bytes + ROW)
    return _part("extract", what, rates.extract, images, disk)


def _plan_queries(
    name: str, queries: int, work: Workload, rates: Rates, recipe: Recipe
) -> Iterator[Part]:
    """Yield the search for some queries, and the verification of what it finds."""
    if not queries:
        return
    sums = count_sums(queries, work, recipe)
    what = f"{queries:,} {name}: search of {work.database:,}"
    yield _part("search", what, rates.search, sums)
    if work.candidates:
        pairs = queries * work.candidates
        read = _part("verify", "", rates.read, queries + count_reads(pairs, work.database))
        verified = _part("verify", "", rates.verify, pairs)
        what = f"{pairs:,} candidates verified"
        yield Part("verify", what, read.seconds + verified.seconds, read.alone + verified.alone)


def count_sums(queries: int, work: Workload, recipe: Recipe) -> int:
    """Return the multiplications of the exact searches for some queries.

    Each is compared with the database, twice if it is expanded, with the head's classes and with
    the half of the pool that penalties are taken from; so is each of its neighbours with the pool.
    """
    pool = (work.pool + 1) // 2
    searches = 2 if recipe.search.expand_query else 1
    neighbors = min(queries * work.neighbors, work.database)
    rows = queries * (searches * work.database + work.classes + pool) + neighbors * pool
    return rows * recipe.train.dim


def count_reads(pairs: int, database: int) -> int:
    """Return how often the features of a candidate come from disk, and not from the cache.

    >>> count_reads(500, 900), count_reads(5000, 900), count_reads(5000, 10_000)
    (500, 900, 4000)
    """
    if database <= CACHED:
        return min(pairs, database)
    return round(pairs * (1 - CACHED / database))
