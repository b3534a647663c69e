"""Plan the stages of a run: time, disk and memory, from what there is to do and how fast it goes.

Arithmetic alone: measures nothing, reads and writes no files.
"""

from collections.abc import Iterator

from pipelines.runs.recipe import Recipe
from rerank.verifier import INDEXES

from .plan_models import plan_embedding, plan_training
from .rates import Rates
from .stage_plan import EVIDENCE, ID, NEIGHBOR, NUMBER, PLACE, ROW, Part, StagePlan, make_part
from .workload import Workload

CACHED = 2000  # images whose features a store keeps in memory
UNPACKED = 4  # bytes in memory for one of stored features: bytes become float32


def plan_stages(
    work: Workload, rates: Rates, recipe: Recipe, workers: int
) -> tuple[StagePlan, ...]:
    """Plan train, embed, index and, where there are test images, submit, in this order."""
    stages = [
        plan_training(work, rates, recipe, workers),
        plan_embedding(work, rates, recipe),
        _plan_indexing(work, rates, recipe),
    ]
    return (*stages, _plan_submission(work, rates, recipe)) if work.test else tuple(stages)


def _plan_indexing(work: Workload, rates: Rates, recipe: Recipe) -> StagePlan:
    dim = rates.dim
    vectors = NUMBER * work.database * dim
    parts = []
    if work.candidates:
        parts.append(_plan_features("database", work.indexed, rates, recipe))
    what = f"exact index of {work.database:,} x {dim} numbers"
    parts.append(Part("index", what, disk=vectors + ROW * work.database))
    parts += _plan_queries("queries of known answer", work.known, work, rates, recipe)
    memory = {
        "libraries": rates.libraries,
        "descriptors": 3 * vectors,  # as read, put together, and in the index
        "ids": work.database * (ID + _place(work)),
        "features": min(CACHED, work.database) * rates.feature_bytes,
        **_hold_classes(work, rates, recipe),
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
        "libraries": rates.libraries,
        "descriptors": NUMBER * (work.database + _count_found(work.test, work)) * rates.dim,
        "ids": work.database * (2 * ID + _place(work)) + work.test * ID,
        "features": 2 * min(CACHED, work.database) * rates.feature_bytes,
        **_hold_classes(work, rates, recipe),
        "queries": EVIDENCE * work.test * work.neighbors,
    }
    return StagePlan("submit", tuple(parts), memory)


def _place(work: Workload) -> int:
    return PLACE if work.candidates else 0


def _hold_classes(work: Workload, rates: Rates, recipe: Recipe) -> dict[str, float]:
    """Return the bytes of the classes that are matched as a whole."""
    if not work.candidates or recipe.rerank.matching != "aggregated":
        return {}
    images = INDEXES * work.most_candidates
    return {"features of classes": UNPACKED * images * rates.feature_bytes}


def _plan_features(of: str, images: int, rates: Rates, recipe: Recipe) -> Part:
    what = f"local features of {images:,} {of} images ({recipe.rerank.method})"
    disk = images * (rates.feature_bytes + ROW)
    return make_part("extract", what, rates.extract, images, disk)


def _plan_queries(
    name: str, queries: int, work: Workload, rates: Rates, recipe: Recipe
) -> Iterator[Part]:
    """Yield the search for some queries, and the verification of what it finds."""
    if not queries:
        return
    sums = count_sums(queries, work, recipe) * rates.dim
    what = f"{queries:,} {name}: search of {work.database:,}"
    yield make_part("search", what, rates.search, sums)
    if work.candidates:
        pairs = round(queries * work.candidates)
        read = make_part("verify", "", rates.read, queries + count_reads(pairs, work.database))
        verified = make_part("verify", "", rates.verify, pairs)
        what = f"{pairs:,} candidates verified"
        if recipe.rerank.of == "predicted-class":
            what = f"about {pairs:,} images of predicted classes verified"
        yield Part("verify", what, read.seconds + verified.seconds, read.alone + verified.alone)


def count_sums(queries: int, work: Workload, recipe: Recipe) -> int:
    """Return the inner products of the exact searches for some queries.

    Each is compared with the database, twice if it is expanded, and with the half of the pool that
    penalties are taken from; so is each of its neighbours with the pool. What the head says of it
    is known from its description.
    """
    pool = (work.pool + 1) // 2
    searches = 2 if recipe.search.expand_query else 1
    return queries * (searches * work.database + pool) + _count_found(queries, work) * pool


def _count_found(queries: int, work: Workload) -> int:
    """Return how many images of the database are neighbours of a query, at most."""
    return min(queries * work.neighbors, work.database)


def count_reads(pairs: int, database: int) -> int:
    """Return how often the features of a candidate come from disk, and not from the cache.

    >>> count_reads(500, 900), count_reads(5000, 900), count_reads(5000, 10_000)
    (500, 900, 4000)
    """
    if database <= CACHED:
        return min(pairs, database)
    return round(pairs * (1 - CACHED / database))
