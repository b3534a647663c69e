"""What bench_index compares, each in a process of its own that answers one question a line.

Reads vectors.npy, queries.npy and least.npy of a folder. Run by bench_index:
python -m tests.benchmarks.index_sides SIDE FOLDER RECALL MEMORY
"""

import functools
import importlib
import json
import multiprocessing
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.mapped import gather

K = 10
BLOCK = 65_536  # vectors that are read at a time
ONE = 50  # queries that are asked one at a time
ADDED = 1000
Search = Callable[[NDArray[np.float32]], Any]  # of queries; returns rows [Q, K], or nothing


class Side(ABC):
    """A way to search. What is swept yields a search a setting, slow but sure ones last."""

    def __init__(self, folder: Path, recall: float, memory: str) -> None:
        """Open the vectors [N, dim] float16, queries [Q, dim], and what is to be reached."""
        self.vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self.queries = np.load(folder / "queries.npy")
        self.folder, self.recall, self.memory = folder, recall, memory
        self.seconds = 0.0  # to build, where that is not until the first setting
        self.peak = 0  # bytes in memory while it was built
        self.added: Search | None = None
        self.seconds_to_add = 0.0

    @abstractmethod
    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the name of a setting and its search, from the one that finds least on."""

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the first row of a block and its vectors."""
        for start in range(0, len(self.vectors), BLOCK):
            yield start, np.asarray(self.vectors[start : start + BLOCK], dtype=np.float32)


def plan_and_save(folder: Path, recall: float, memory: str) -> dict[str, Any]:
    """Choose an index of vectors.npy, write index.faiss; return what there is to tell of it."""
    from index import plan
    from index.base import INDEX, VECTORS
    from index.kernels import faiss
    from index.settings import SearchSettings

    plan.EXACT_BELOW = 0  # to see where it would pay
    vectors = np.load(folder / VECTORS, mmap_mode="r")
    base, report = plan.plan_index(vectors, SearchSettings(recall=recall, memory=memory))
    faiss.write_index(base.coarse, str(folder / INDEX))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**report.to_json(), "peak": peak}


class Cairn(Side):
    """The index that is planned, by a process of its own, and opened as a run opens it."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the one setting that was tuned."""
        from index.base import INDEX, VECTORS, BaseIndex
        from index.images import ImageIndex

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            report = pool.apply(plan_and_save, (self.folder, self.recall, self.memory))
        self.seconds, self.peak = report["seconds"], report["peak"]
        files = (self.folder / VECTORS, self.folder / INDEX)
        base = BaseIndex.load(*files, report["parameters"])
        images = ImageIndex(base)
        vectors = self.queries[:, None].repeat(ADDED // len(self.queries) + 1, axis=0)[:ADDED]
        start = time.perf_counter()
        changed = images.with_changes(vectors, np.zeros(len(images) + len(vectors), np.bool_))
        changed.search(self.queries[:1, None], K)
        self.seconds_to_add = time.perf_counter() - start
        self.added = lambda queries: changed.search(queries[:, None], K).rows
        setting = " ".join(f"{name}={value}" for name, value in report["parameters"].items())
        yield (
            f"{report['factory']} {setting}",
            lambda queries: images.search(queries[:, None], K).rows,
        )


class CairnExact(Side):
    """All vectors compared, in float32, with the kernels that index.kernels picks."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the one there is."""
        from index.base import BaseIndex

        base = BaseIndex(np.asarray(self.vectors, dtype=np.float32))
        yield "exact", lambda queries: base.search(queries, K).rows


class Faiss(Side):
    """IndexFlatIP as pip installs it: nobody tells its OpenBLAS which kernels to take."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the one there is."""
        import faiss

        index = faiss.IndexFlatIP(self.vectors.shape[1])
        for _, vectors in self.blocks():
            index.add(vectors)
        yield "IndexFlatIP", lambda queries: index.search(queries, K)[1]


class NumpyProduct(Side):
    """The bare product of matrices by numpy: what exact search cannot do without."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the product, which finds nothing."""
        vectors = np.asarray(self.vectors, dtype=np.float32)

        def multiply(queries: NDArray[np.float32]) -> None:
            for start in range(0, len(vectors), 8192):
                queries @ vectors[start : start + 8192].T

        yield "product alone", multiply


class TorchProduct(Side):
    """The bare product of matrices by torch."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield the product, which finds nothing."""
        import torch

        vectors = torch.from_numpy(np.asarray(self.vectors, dtype=np.float32))

        def multiply(queries: NDArray[np.float32]) -> None:
            for start in range(0, len(vectors), 8192):
                torch.from_numpy(queries) @ vectors[start : start + 8192].T

        yield "product alone", multiply


class Hnswlib(Side):
    """The graph of hnswlib."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield ever wider searches."""
        hnswlib = importlib.import_module("hnswlib")
        index = hnswlib.Index(space="ip", dim=self.vectors.shape[1])
        index.init_index(max_elements=len(self.vectors), ef_construction=200, M=32)
        for start, vectors in self.blocks():
            index.add_items(vectors, np.arange(start, start + len(vectors)))
        for width in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024):
            index.set_ef(width)
            yield f"M=32 ef={width}", lambda queries: index.knn_query(queries, K)[0]


class Usearch(Side):
    """The graph of usearch, with vectors in float16 as they come."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield ever wider searches."""
        made = importlib.import_module("usearch.index").Index(
            ndim=self.vectors.shape[1], metric="ip", dtype="f16", connectivity=32, expansion_add=200
        )
        for start, vectors in self.blocks():
            made.add(np.arange(start, start + len(vectors)), vectors.astype(np.float16))
        for width in (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024):
            made.expansion_search = width
            yield (
                f"M=32 ef={width}",
                lambda queries: np.reshape(
                    made.search(queries.astype(np.float16), K).keys, (len(queries), K)
                ).astype(np.int64),
            )


class Scann(Side):
    """ScaNN: a tree, anisotropic quantisation and float32 vectors."""

    def sweep(self) -> Iterator[tuple[str, Search]]:
        """Yield ever more leaves and candidates."""
        # Its operations for TensorFlow are not needed, and are made for one version of that.
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
        scann = importlib.import_module("scann").scann_ops_pybind
        vectors, leaves = np.asarray(self.vectors, np.float32), int(len(self.vectors) ** 0.5)
        builder = scann.builder(vectors, K, "dot_product")
        builder = builder.tree(leaves, leaves, training_sample_size=min(len(vectors), 250_000))
        index = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()
        for share in (0.05, 0.1, 0.2, 0.4, 0.8):
            for kept in (50, 100, 200, 400, 800):
                looked = max(int(share * leaves), 1)
                search = functools.partial(_search_scann, index, looked, kept)
                yield f"leaves={looked}/{leaves} reorder={kept}", search


def _search_scann(index: Any, leaves: int, kept: int, queries: NDArray[np.float32]) -> Any:
    """Return the rows that ScaNN finds."""
    found, _ = index.search_batched_parallel(
        queries, K, leaves_to_search=leaves, pre_reorder_num_neighbors=kept
    )
    return np.asarray(found).astype(np.int64)


SIDES: dict[str, type[Side]] = {
    "cairn": Cairn,
    "cairn exact": CairnExact,
    "faiss": Faiss,
    "numpy": NumpyProduct,
    "torch": TorchProduct,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "scann": Scann,
}


def read_resident() -> int:
    """Return the bytes of this process that are in memory, pages of mapped files included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells VmRSS")


def find_recall(side: Side, rows: Any, least: NDArray[np.float32]) -> float:
    """Return the share of the K nearest that are among rows [Q, K]; equals count alike."""
    if rows is None:
        return float("nan")
    # Pages that are read here are given back: they are none of what the side takes in memory.
    found = gather(side.vectors, np.maximum(rows, 0).ravel()).astype(np.float32)
    cosines = np.vecdot(found.reshape(*rows.shape, -1), side.queries[:, None])
    # Libraries round otherwise; what is that near is as good.
    return float(((cosines >= least[:, None] - 1e-6) & (rows >= 0)).mean())


def choose_search(side: Side, least: NDArray[np.float32]) -> tuple[str, Search, float, float]:
    """Return the fastest setting that finds enough: its name, search, recall, and build seconds.

    Where none does, the last one. Settings are tried until one finds enough; of several kinds of
    setting, the fastest of those that do is taken.
    """
    start, built, best = time.perf_counter(), 0.0, None
    for name, search in side.sweep():
        built = built or side.seconds or time.perf_counter() - start
        recall = find_recall(side, search(side.queries), least)
        begun = time.perf_counter()
        search(side.queries)
        seconds = time.perf_counter() - begun
        enough = not recall < side.recall
        if best is None or (enough, -seconds if enough else recall) > best[0]:
            best = ((enough, -seconds if enough else recall), name, search, recall)
        if enough and not isinstance(side, Scann):
            break
    assert best is not None
    return best[1], best[2], best[3], built


def main() -> None:
    """Build a side, say what it is, and answer what is asked with its seconds, and the cores'."""
    name, folder, recall, memory = sys.argv[1:]
    side = SIDES[name](Path(folder), float(recall), memory)
    before = read_resident()
    setting, search, found, built = choose_search(side, np.load(Path(folder) / "least.npy"))
    asked: dict[str, Callable[[], object]] = {
        "batch": lambda: search(side.queries),
        "one": lambda: [search(side.queries[row : row + 1]) for row in range(ONE)],
        "added": lambda: side.added and side.added(side.queries),
    }
    told = {
        "setting": setting,
        "recall": found,
        "build": built,
        "resident": read_resident() - before,
        "peak": side.peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "added": side.seconds_to_add,
    }
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        start, used = time.perf_counter(), time.process_time()
        asked[line.strip()]()
        seconds = (time.perf_counter() - start, time.process_time() - used)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    main()
