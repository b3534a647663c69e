"""Choose the index of a database by the memory and the recall that are asked for.

Few vectors are compared exactly. Of more, each kind of index.kinds is built of a sample and tuned
on queries from it; of those that find enough in the memory there is, the one with the least cost is
built of all and tuned again. Costs are counted and draws are seeded: the same vectors end in the
same index. What was measured, recall and speed, is told in an IndexReport. Vectors may be in a
mapped file: they are read in blocks, and written as float16 to another.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.mapped import gather, iterate_blocks, store_blocks

from .base import BaseIndex
from .kernels import KERNELS, faiss
from .kinds import (
    count_cost,
    describe,
    list_kinds,
    list_settings,
    list_values,
    project,
)
from .settings import EXACT_BELOW as EXACT_BELOW
from .settings import SearchSettings

logger = logging.getLogger(__name__)

EXACT = "exact"
NEAREST = 10  # recall is the share of so many nearest rows that are found
MOST_NEAREST = 1000  # for which it is measured, however many neighbours a query gets
MOST_FOUND = 100_000  # rows that all queries of a trial together are to find
QUERIES, TRIAL_QUERIES = 1000, 500  # that are asked of the index, and of those that are tried
SAMPLE = 25_000  # rows that kinds are tried on: that takes two cores half a minute
TRAINED = 50_000  # rows that an index is trained on
TRAINED_PER_LIST = 40  # rows that an inverted list is trained on: FAISS wants 39
BLOCK = 65_536  # rows that are added at a time


@dataclass(frozen=True)
class IndexReport:
    """What was chosen, why, and what it was measured to do."""

    factory: str  # in FAISS's words, or "exact"
    why: str
    parameters: Mapping[str, int] = field(default_factory=dict)  # see index.base
    recall: float = 1.0  # of the ten nearest, found
    recall_low: float = 1.0  # Wilson's 95 percent interval, a query counting as one draw
    recall_high: float = 1.0
    neighbors: int = NEAREST  # that a query of the run gets, as far as that is measured
    recall_of_neighbors: float = 1.0  # share of so many nearest, found
    queries: int = 0  # rows of the database that asked for their ten nearest
    queries_per_second: float = 0.0
    bytes: int = 0  # in memory; the file of exact vectors does not count beside a coarse index
    seconds: float = 0.0  # to choose, build and tune
    kernels: str = KERNELS  # of FAISS's products of matrices; empty: its own choice

    def to_json(self) -> dict[str, Any]:
        """Return the values for a manifest."""
        return asdict(self)

    def __str__(self) -> str:
        """Return one line for people."""
        settings = "".join(f", {name} {value}" for name, value in self.parameters.items())
        found = ""
        if self.factory != EXACT:
            found = (
                f"finds {self.recall:.4f} of the {NEAREST} nearest (95 % interval "
                f"{self.recall_low:.4f} to {self.recall_high:.4f}), "
            )
            if self.neighbors > NEAREST:
                found += f"{self.recall_of_neighbors:.4f} of the {self.neighbors:,} nearest, "
        kernels = f"; kernels {self.kernels}" if self.kernels else ""
        return (
            f"index {self.factory}{settings}: {found}{self.queries_per_second:,.0f} queries a "
            f"second, {format_bytes(self.bytes)}; {self.why}{kernels}"
        )


@dataclass(frozen=True)
class Trial:
    """Queries that are rows of the database, and what is to be found beside themselves."""

    queries: NDArray[np.float32]  # [Q, dim]
    own: NDArray[np.int64]  # [Q] their rows
    least: NDArray[np.float32]  # [Q] the cosine of the last that is to be found
    k: int

    @classmethod
    def draw(cls, exact: NDArray[np.floating], count: int, nearest: int = NEAREST) -> "Trial":
        """Draw at most `count` rows of exact [N, dim], N at least 2, and compare them with all."""
        drawn = np.random.default_rng(0).choice(len(exact), min(count, len(exact)), False)
        own, base = np.sort(drawn), BaseIndex(exact)
        k = min(nearest, len(exact) - 1)
        trial = cls(base.vectors(own), own, np.empty(0, np.float32), k)
        return replace(trial, least=trial.find(base)[:, -1])

    def find(self, index: BaseIndex) -> NDArray[np.float32]:
        """Return the cosines [Q, k] of what an index finds beside the queries themselves."""
        found = index.search(self.queries, self.k + 1)
        # The row itself is left out; where its copies keep it off the list, the last one is.
        others = np.argsort(found.rows == self.own[:, None], axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(found.scores, others, axis=1)

    def measure(self, index: BaseIndex, *, surely: bool = False) -> float:
        """Return the share of what is to be found that an index finds; equals count alike.

        Args:
            index: that is asked.
            surely: the share that it finds for other queries, too, with 95 % confidence: less by
                1.645 standard errors, as what is tuned on some queries finds a little more of them.
        """
        shares = (self.find(index) >= self.least[:, None]).mean(axis=1)
        error = shares.std() / math.sqrt(len(shares))
        return float(shares.mean() - 1.645 * error * surely)


def plan_index(
    exact: NDArray[np.floating],
    settings: SearchSettings,
    *,
    neighbors: int = NEAREST,
    folder: Path | None = None,
) -> tuple[BaseIndex, IndexReport]:
    """Return the index of vectors [N, dim] of length 1, and what there is to tell of it.

    Args:
        exact: float32 or float16, may be memory-mapped.
        settings: of the search.
        neighbors: that a query will get. Where that is more than ten, as much is found of so many
            nearest, of 1,000 at most.
        folder: where float32 vectors are written as float16 to a file without a name, and mapped,
            if the index is not exact; None: in memory.

    Raises:
        InputError: the memory or the recall is out of reach, or FAISS cannot make the factory of
            these vectors.
    """
    start = time.perf_counter()
    index, report = _plan(exact, settings, neighbors, folder)
    trial = Trial.draw(exact[: min(len(exact), BLOCK)], QUERIES) if len(exact) > 1 else None
    speed = _measure_speed(index, trial.queries) if trial else 0.0
    seconds = time.perf_counter() - start
    return index, replace(report, queries_per_second=speed, seconds=seconds)


def _plan(
    exact: NDArray[np.floating], settings: SearchSettings, neighbors: int, folder: Path | None
) -> tuple[BaseIndex, IndexReport]:
    count, needed, memory = len(exact), 4 * exact.size, settings.memory_bytes
    fits = needed <= memory
    factory = settings.factory.replace(" ", "")
    if factory == "Flat" or (not factory and fits and count < EXACT_BELOW):
        why = "asked for" if factory else f"all are compared of fewer than {EXACT_BELOW:,} vectors"
        return BaseIndex(exact), IndexReport(EXACT, why, bytes=needed)
    if not factory and settings.recall == 1:
        if not fits:
            raise _out_of_reach(settings, 0.0, exact.shape)
        return BaseIndex(exact), IndexReport(EXACT, "recall 1 is asked for", bytes=needed)
    if count == 1:
        raise InputError("one vector needs no index; leave search.factory empty")
    stored = exact
    if exact.dtype != np.float16:
        stored = store_blocks(iterate_blocks(exact), exact.shape, np.float16, folder)
    trials = [Trial.draw(stored, QUERIES)]
    if (wide := min(neighbors, MOST_NEAREST, count - 1)) > NEAREST:
        trials.append(Trial.draw(stored, min(QUERIES, MOST_FOUND // wide), wide))
    kinds, best = ([(factory, "asked for")], 0.0) if factory else _try_kinds(stored, settings)
    for kind, why in kinds:
        found = _try_kind(stored, kind, settings, trials)
        if isinstance(found, float):
            best = max(best, found)
        else:
            return found[0], replace(found[1], why=why)
    if fits and not factory:
        why = f"no other index finds {settings.recall} in {settings.memory}"
        return BaseIndex(exact), IndexReport(EXACT, why, bytes=needed)
    raise _out_of_reach(settings, best, exact.shape)


def _try_kind(
    stored: NDArray[np.floating], kind: str, settings: SearchSettings, trials: Sequence[Trial]
) -> tuple[BaseIndex, IndexReport] | float:
    """Return an index of a kind, tuned, or the most that it finds; 0 where it is too large."""
    coarse = build_coarse(stored, kind)
    size = measure_bytes(coarse)
    if size > settings.memory_bytes:
        if settings.factory:
            raise InputError(
                f"search.factory = {kind!r} takes {format_bytes(size)}; search.memory is "
                f"{settings.memory}: allow as much, or leave the factory empty"
            )
        return 0.0
    index, recall = tune(BaseIndex(stored, coarse), trials, settings.recall)
    return recall if recall < settings.recall else (index, _report(kind, index, trials, size))


def _try_kinds(
    stored: NDArray[np.floating], settings: SearchSettings
) -> tuple[list[tuple[str, str]], float]:
    """Return kinds, each with why, the cheapest first, and the most that another kind finds.

    They are those that find enough of a sample, and are within the memory.
    """
    count, dim = stored.shape
    drawn = np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False)
    sample = gather(stored, np.sort(drawn)).astype(np.float32)
    trial = Trial.draw(sample, TRIAL_QUERIES)
    found, best = [], 0.0
    for kind, whole in zip(list_kinds(len(sample), dim), list_kinds(count, dim), strict=True):
        try:
            coarse = build_coarse(sample, kind)
        except InputError as error:  # of too few vectors to be trained on
            logger.debug("%s", error)
            continue
        size = measure_bytes(coarse) * count // len(sample)
        if size > settings.memory_bytes:
            logger.debug("%s: about %s, too much", whole, format_bytes(size))
            continue
        index, recall = tune(BaseIndex(sample, coarse), [trial], settings.recall)
        shape, setting = project(describe(coarse), index.parameters, count)
        cost = count_cost(shape, setting, count, dim, NEAREST)
        logger.debug("%s: recall %.4f, %.0f us, %s", whole, recall, cost / 1e3, format_bytes(size))
        if recall >= settings.recall:
            found.append((cost, whole))
        else:
            best = max(best, recall)
    why = (
        f"the cheapest of {len(found)} that find {settings.recall} of a sample in {settings.memory}"
    )
    return [(kind, why) for _, kind in sorted(found)], best


def build_coarse(vectors: NDArray[np.floating], factory: str) -> Any:
    """Return the FAISS index of a factory string over vectors [N, dim], trained on some of them.

    Distances are Euclidean, whose order among vectors of length 1 is that of cosines: principal
    components that are centred keep it.

    Raises:
        InputError: FAISS does not know the factory, or cannot make it of so many such vectors.
    """
    count, dim = vectors.shape
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_L2)
        trained = max(TRAINED, TRAINED_PER_LIST * describe(index).lists)
        drawn = np.random.default_rng(0).choice(count, min(trained, count), replace=False)
        index.train(gather(vectors, np.sort(drawn)).astype(np.float32))
        for _, block in iterate_blocks(vectors, BLOCK * dim):
            index.add(np.asarray(block, dtype=np.float32))
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].rpartition("failed: ")[2]
        raise InputError(
            f"search.factory = {factory!r}: FAISS cannot make it of {count:,} vectors of {dim} "
            f"numbers ({reason}); leave it empty, and one is chosen by search.memory and "
            "search.recall"
        ) from error
    return index


def tune(index: BaseIndex, trials: Sequence[Trial], least: float) -> tuple[BaseIndex, float]:
    """Return an index with the cheapest parameters whose recall is least or more, and the recall.

    It is the least of that of all trials, the first of which tells the costs. Other queries find as
    much, with 95 % confidence, or parameters are those with the most of everything. More of a
    parameter never finds less.
    """
    shape, trial = describe(index.coarse), trials[0]
    values = list_values(shape, index.ntotal, trial.k + 1)

    def measure(setting: Mapping[str, int], surely: bool = True) -> float:
        found, tried = 1.0, replace(index, parameters=setting)
        for each in trials:
            if found >= least:  # else that says enough
                found = min(found, each.measure(tried, surely=surely))
        return found

    most = {name: each[-1] for name, each in values.items()}
    if measure(most) < least:
        return replace(index, parameters=most), measure(most, surely=False)
    for name, each in values.items():  # what is too little with the most of all others
        while len(each) > 1 and measure({**most, name: each[(len(each) - 1) // 2]}) < least:
            del each[: (len(each) - 1) // 2 + 1]
    costs = [
        (count_cost(shape, setting, index.ntotal, index.dim, trial.k), setting)
        for setting in list_settings(values)
    ]
    for _, setting in sorted(costs, key=lambda each: each[0]):
        if measure(setting) >= least:
            return replace(index, parameters=setting), measure(setting, surely=False)
    raise AssertionError("the most of all was enough")


def measure_bytes(index: Any) -> int:
    """Return the bytes of a FAISS index."""
    sizes: list[int] = []
    writer = faiss.PyCallbackIOWriter(lambda block: sizes.append(len(block)))
    faiss.write_index(index, writer)
    return sum(sizes)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the bounds of a share of `count` draws with 95 % confidence; Wilson 1927.

    >>> [round(bound, 4) for bound in wilson_interval(0.99, 1000)]
    [0.9817, 0.9946]
    """
    z = 1.959964
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half = z / (1 + z * z / count) * spread
    return max(centre - half, 0.0), min(centre + half, 1.0)


def format_bytes(size: float) -> str:
    """Return an amount of memory for people.

    >>> format_bytes(2_512_000_000), format_bytes(31_000)
    ('2.51 GB', '31 kB')
    """
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def _report(kind: str, index: BaseIndex, trials: Sequence[Trial], size: int) -> IndexReport:
    queries, recalls = len(trials[0].queries), [trial.measure(index) for trial in trials]
    low, high = wilson_interval(recalls[0], queries)
    return IndexReport(
        *(kind, "", index.parameters, recalls[0], low, high),
        neighbors=trials[-1].k,
        recall_of_neighbors=recalls[-1],
        queries=queries,
        bytes=size,
    )


def _measure_speed(index: BaseIndex, queries: NDArray[np.float32]) -> float:
    """Return queries a second in a batch, the better of two."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        index.search(queries, NEAREST)
        seconds.append(time.perf_counter() - start)
    return len(queries) / min(seconds)


def _out_of_reach(settings: SearchSettings, best: float, shape: Sequence[int]) -> InputError:
    """Return the error that says what there could be instead; best 0: nothing was measured."""
    named = "factory" if settings.factory else "memory"
    what = f"search.{named} = {getattr(settings, named)!r}"
    found, remedy = "no index is that small", ""
    if best:
        found = f"the most that was found of the nearest is {best:.4f}"
        remedy = f"ask for a recall of {math.floor(best * 1e3) / 1e3:g}, or "
    elif settings.recall == 1:
        found = "to find all of the nearest, all are compared"
    needed = 4 * shape[0] * shape[1]
    return InputError(
        f"{what} with search.recall = {settings.recall:g} is out of reach for {shape[0]:,} vectors "
        f"of {shape[1]} numbers: {found}; {remedy}allow {format_bytes(needed)} of memory "
        "(--memory), which compares all"
    )
