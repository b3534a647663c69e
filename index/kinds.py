"""The kinds of FAISS index that are tried, what a search in one can be set to, and its cost.

Costs are counted, not measured: the same vectors end in the same index on every machine. Reads and
writes no files.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .base import MARGIN, MOST_CANDIDATES
from .kernels import faiss

# Nanoseconds on one core at 3 GHz, from searches among 20,000 vectors of 512 numbers (see
# tests.benchmarks.bench_index): for a byte of a code scanned in blocks, or alone, for an inverted
# list, for a number of a product of matrices, for a number of a candidate that is compared by 8-bit
# or by exact vectors, and for what a candidate costs whatever its length.
PACKED, PLAIN, LIST, PRODUCT, RANDOM, EXACT, CANDIDATE = 0.06, 0.12, 600.0, 0.015, 0.4, 2.0, 100.0
GRAPH = 0.75  # of a row's links in the graph that are followed, for each of efSearch
LEAST_DIM = 32  # numbers that are kept of a vector: fewer tell too little apart
FACTORS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Shape:
    """What FAISS looks at in a search."""

    dim: int  # numbers of a vector whose code is scanned
    code: int  # bytes of a code
    lists: int = 0  # inverted lists; 0: there are none
    links: int = 0  # of a row in a graph; 0: there is none
    packed: bool = False  # codes are scanned 32 at a time
    lossy: bool = False  # a code says less than the vector
    refined: bool = False  # candidates are compared by 8-bit vectors, too


def list_kinds(count: int, dim: int) -> list[str]:
    """Return the factory strings that are tried for `count` vectors of `dim` numbers.

    Codes are of rotated principal components, so that each of their parts says as much. 8-bit
    vectors refine what codes find; without them that is left to the exact vectors in their file.
    """
    lists = count_lists(count)
    codes = [
        (f"PCAR{kept},", f"PQ{kept // 2}x4fs")
        for kept in (dim // part // 8 * 8 for part in (8, 4, 2))
        if kept >= LEAST_DIM
    ] or [("", f"PQ{dim}x4fs")]
    codes.append((f"RR{dim},", "RaBitQfs"))
    kinds = [
        f"{rotation}{inverted}{code}{refined}"
        for refined in (",Refine(SQ8)", "")
        for inverted in ("", f"IVF{lists},")
        for rotation, code in codes
        if not (inverted and code == "RaBitQfs")
    ]
    return [*kinds, f"IVF{lists},SQ8", "SQ8", "HNSW32"]


def count_lists(count: int) -> int:
    """Return a power of two near sqrt(N): there are about as many lists as rows in each.

    Codes are scanned so fast that more and shorter lists, of which more have to be looked at for
    the same recall, cost more.
    """
    return int(2 ** round(math.log2(math.sqrt(count))))


def describe(index: Any) -> Shape:
    """Return what a search in a FAISS index looks at."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return replace(describe(index.base_index), refined=True)
    if isinstance(index, faiss.IndexPreTransform):
        inner = describe(index.index)
        return replace(inner, lossy=inner.lossy or inner.dim < index.d)
    graph = isinstance(index, faiss.IndexHNSW)
    stored = faiss.downcast_index(index.storage) if graph else index
    code = int(getattr(stored, "code_size", 0) or stored.sa_code_size())
    return Shape(
        dim=index.d,
        code=code,
        lists=index.nlist if isinstance(index, faiss.IndexIVF) else 0,
        links=index.hnsw.nb_neighbors(0) if graph else 0,
        packed="FastScan" in type(index).__name__,
        lossy=code < 4 * index.d,
    )


def list_values(shape: Shape, count: int, k: int) -> dict[str, list[int]]:
    """Return the settings of a search for k of `count` rows, each with its values, ascending."""
    values = {}
    if shape.lists:
        powers = (2**power for power in range(shape.lists.bit_length()))
        values["nprobe"] = [power for power in powers if power <= shape.lists]
    if shape.links:
        values["efSearch"] = [16 * factor for factor in FACTORS]
    if shape.refined:
        values["k_factor"] = [each for each in FACTORS if each * (k + MARGIN) <= count]
    elif shape.lossy:
        values["refine"] = [each for each in FACTORS if each * k < MOST_CANDIDATES * count]
    return {name: each or [1] for name, each in values.items()}


def list_settings(values: Mapping[str, list[int]]) -> Iterator[dict[str, int]]:
    """Yield all settings of which each has one of its values."""
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def count_cost(shape: Shape, setting: Mapping[str, int], count: int, dim: int, k: int) -> float:
    """Return about how many nanoseconds a search for k of `count` rows takes one core."""
    cost = (CANDIDATE + RANDOM * dim) * (k + MARGIN) * setting.get("k_factor", 0)
    cost += (CANDIDATE + EXACT * dim) * max(k * setting.get("refine", 1), k + MARGIN)
    if shape.links:
        rows = GRAPH * shape.links * max(setting["efSearch"], k + MARGIN) / 2
        return cost + rows * (CANDIDATE + RANDOM * shape.code / 4)
    byte = PACKED if shape.packed else PLAIN
    if not shape.lists:
        return cost + count * shape.code * byte
    cost += shape.lists * shape.dim * PRODUCT + setting["nprobe"] * LIST
    return cost + count * setting["nprobe"] / shape.lists * shape.code * byte


def project(shape: Shape, setting: Mapping[str, int], count: int) -> tuple[Shape, dict[str, int]]:
    """Return what a shape and a setting of a sample's index become with `count` rows.

    Lists are more, and the share of them that is looked at is less: by the root of their growth.
    """
    if not shape.lists:
        return shape, dict(setting)
    lists = count_lists(count)
    probes = round(setting["nprobe"] * math.sqrt(lists / shape.lists))
    return replace(shape, lists=lists), {**setting, "nprobe": min(max(probes, 1), lists)}
