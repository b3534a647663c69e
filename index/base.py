"""The vectors that do not change: held exactly, and where that pays found by a FAISS index first.

Knows rows, not images, ids or labels. Reads and writes vectors.npy, and index.faiss where there is
a FAISS index; whoever calls compares the files with their checksums before they are loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError, MissingFileError
from embed.files import writing
from embed.mapped import BLOCK, GATHERED, gather, give_back, iterate_blocks

from .neighbors import Neighbors

VECTORS, INDEX = "vectors.npy", "index.faiss"
MARGIN = 8  # rows that are looked at beyond the k asked for, in case some tie
GPU_MOST = 2048  # rows that FAISS finds on a GPU for a query
GPU_QUERIES = 256  # fewer are searched by the processor
GPU_BYTES = 2 << 30  # of vectors, and of queries, that a GPU is sent at a time
FEW_PRODUCTS = 1 << 16  # numpy is as fast, and FAISS need not be loaded, which takes .1 s
# Where so many of all rows are candidates, all are compared.
MOST_CANDIDATES = 0.25
# Float16 storage moves the length of a vector by at most 1e-3.
LENGTH_TOLERANCE = 5e-3


@dataclass(frozen=True)
class BaseIndex:
    """N vectors, and how the nearest of them are found.

    Scores are always cosines with the exact vectors, a pair at a time: they depend neither on the
    other queries, nor on threads, nor on how rows were found. Equal scores are ordered by row. With
    a coarse index some of the nearest rows may not be found, but never too few.
    """

    exact: NDArray[np.floating]  # [N, dim] float16 or float32 of length 1, may be memory-mapped
    coarse: Any = None  # faiss.Index of the same rows that finds candidates; None: all are compared
    # Of the search in coarse: nprobe (lists that are looked at), efSearch (of the graph), k_factor
    # (candidates that 8-bit vectors are compared of, for each that is kept) and refine (candidates
    # that exact vectors are compared of, for each row asked for).
    parameters: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError unless the FAISS index, if any, is of as many vectors as long."""
        if self.coarse is not None and (self.coarse.ntotal, self.coarse.d) != self.exact.shape:
            raise ValueError(
                f"index of {self.coarse.ntotal} x {self.coarse.d}, vectors {self.exact.shape}"
            )

    @classmethod
    def build(cls, vectors: NDArray[np.floating]) -> Self:
        """Return an exact index over vectors [N, dim] of length 1.

        Raises:
            InputError: no rows.
            ValueError: not a matrix, not finite, or rows that are not of length 1.
        """
        if not len(vectors):
            raise InputError("there are no database embeddings to index; embed some images first")
        for place, block in iterate_blocks(vectors):
            check_vectors(block, "database", place.start)
        return cls(np.ascontiguousarray(vectors, dtype=np.float32))

    @property
    def ntotal(self) -> int:
        """N."""
        return int(self.exact.shape[0])

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.exact.shape[1])

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return [n, dim] the exact vectors of rows [n]."""
        found = self.exact[rows] if self._stays else gather(self.exact, rows)
        return np.asarray(found, dtype=np.float32)

    @property
    def _stays(self) -> bool:
        """Whether pages of mapped vectors stay in memory: all are compared for each query.

        Float16 is what lies beside a coarse index: little of it is read, and it does not count.
        """
        return bool(self.exact.dtype == np.float32)

    def search(self, queries: NDArray[np.floating], k: int) -> Neighbors:
        """Find the k nearest rows of each query; of equal ones the lower row is first.

        Args:
            queries: [Q, dim], rows of length 1.
            k: at least 1; beyond N the result is padded.

        Raises:
            ValueError: another dim than the index, vectors not of length 1, or k below 1.
        """
        queries = check_vectors(queries, "query")
        if queries.shape[1] != self.dim:
            raise ValueError(
                f"query dim {queries.shape[1]} != index dim {self.dim}; embed both with the same "
                "model"
            )
        if k < 1:
            raise ValueError(f"k is {k}, must be at least 1")
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        pending = np.arange(len(queries))
        if 0 < (fetch := self._count_candidates(k)) < MOST_CANDIDATES * self.ntotal:
            found = find_candidates(self.coarse, self.parameters, queries, fetch)
            rows[:], scores[:] = (each[:, :k] for each in self._rank(queries, found))
            pending = np.flatnonzero(rows[:, -1] < 0)  # what was looked at holds too few
        fetch, keep = min(k + MARGIN, self.ntotal), min(k, self.ntotal)
        while len(pending):
            found, unseen = self._compare_all(queries[pending], fetch)
            ranked, cosines = self._rank(queries[pending], found)
            rows[pending, :keep], scores[pending, :keep] = ranked[:, :keep], cosines[:, :keep]
            undecided = unseen >= cosines[:, keep - 1]
            pending = pending[undecided] if fetch < self.ntotal else pending[:0]
            fetch = min(fetch * 4, self.ntotal)
        return Neighbors(rows, scores)

    def _count_candidates(self, k: int) -> int:
        """Return how many rows the coarse index is to find; 0 without one."""
        if self.coarse is None:
            return 0
        return max(k + MARGIN, k * self.parameters.get("refine", 1))

    def _compare_all(
        self, queries: NDArray[np.float32], fetch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest rows [Q, fetch], and [Q] what no other row's cosine exceeds."""
        found = np.empty((len(queries), 0), dtype=np.int64)
        near = np.empty((len(queries), 0), dtype=np.float32)
        # FAISS takes float32 where it lies. What is stored as float16 is converted.
        size = 4 * BLOCK if self._stays else BLOCK
        for place, stored in iterate_blocks(self.exact, size, keep=self._stays):
            block = np.asarray(stored, dtype=np.float32)
            scores, rows = _multiply(queries, block, min(fetch, len(block)))
            found = np.concatenate([found, rows + place.start], axis=1)
            near = np.concatenate([near, scores], axis=1)
            order = np.argsort(-near, axis=1, kind="stable")[:, :fetch]
            found = np.take_along_axis(found, order, axis=1)
            near = np.take_along_axis(near, order, axis=1)
        # A product of matrices adds in another order than that of a pair, and rounds otherwise.
        return found, near[:, -1] + np.float32(self.dim * np.finfo(np.float32).eps)

    def _rank(
        self, queries: NDArray[np.float32], found: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows [Q, n] in order, and their cosines; -1, of which there is no row, is last."""
        scores = np.empty(found.shape, dtype=np.float32)
        step = max(GATHERED // (found.shape[1] * self.dim), 1)
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            vectors = self.vectors(found[part].ravel()).reshape(*found[part].shape, self.dim)
            scores[part] = pair_cosines(queries[part], vectors)
            if not self._stays:
                give_back(self.exact)
        scores[found < 0] = -np.inf
        order = np.lexsort((found, -scores), axis=1)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def save(self, folder: Path) -> list[str]:
        """Write vectors.npy, and index.faiss if there is one; return the names of the files."""
        layout = np.lib.format.header_data_from_array_1_0(self.exact) | {"fortran_order": False}
        with writing(folder / VECTORS) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, layout)
            for _, block in iterate_blocks(self.exact):
                file.write(np.ascontiguousarray(block).data)
        if self.coarse is None:
            return [VECTORS]
        from .kernels import faiss

        with writing(folder / INDEX) as temporary:
            faiss.write_index(self.coarse, str(temporary))
        return [VECTORS, INDEX]

    @classmethod
    def load(cls, vectors: Path, index: Path | None, parameters: Mapping[str, int]) -> Self:
        """Open what save wrote: vectors are memory-mapped.

        Args:
            vectors: vectors.npy, whose checksum was compared.
            index: index.faiss, whose checksum was compared; None where there is none.
            parameters: of the search, as they were when it was saved.

        Raises:
            MissingFileError: a file is not there.
            InputError: a file is not what save writes, or of another index than the other.
        """
        for path in (vectors, index):
            if path is not None and not path.is_file():
                raise MissingFileError(f"no index at {path}; run `cairn index` first")
        try:
            exact = np.load(vectors, mmap_mode="r")
            check_matrix(exact)
            coarse = None if index is None else _read_index(index)
            return cls(exact, coarse, parameters)
        except (ValueError, RuntimeError, EOFError) as error:
            raise InputError(
                f"{index or vectors} is no index ({error}); run `cairn index --redo`"
            ) from error


def _read_index(path: Path) -> Any:
    """Read a FAISS index; none that is damaged makes FAISS ask for more memory than it has bytes.

    Raises RuntimeError where FAISS cannot read it.
    """
    from .kernels import faiss

    faiss.set_deserialization_vector_byte_limit(max(path.stat().st_size, 1 << 20))
    return faiss.read_index(str(path))


def _multiply(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the largest products [Q, count] and their rows, by a GPU where that is faster.

    A GPU is sent all vectors, which pays for many queries; more than GPU_MOST rows for a query it
    cannot return, and the processor does that. The few of a photo numpy does, in any order.
    """
    if len(queries) * len(vectors) <= FEW_PRODUCTS:
        products = queries @ vectors.T
        rows = np.argpartition(-products, count - 1, axis=1)[:, :count]
        return np.take_along_axis(products, rows, axis=1), rows
    from .kernels import faiss

    inner = faiss.METRIC_INNER_PRODUCT
    if count <= GPU_MOST and len(queries) >= GPU_QUERIES and faiss.get_num_gpus():
        resources = faiss.StandardGpuResources()
        limit = {"vectorsMemoryLimit": GPU_BYTES, "queriesMemoryLimit": GPU_BYTES}
        found = faiss.knn_gpu(resources, queries, vectors, count, metric=inner, **limit)
    else:
        found = faiss.knn(queries, vectors, count, metric=inner)
    return found[0], found[1]


def find_candidates(
    coarse: Any, parameters: Mapping[str, int], queries: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Return the rows [Q, count] that a FAISS index finds, -1 where it finds no more."""
    # With torch, metric learning puts a search in the place of FAISS's that takes no parameters.
    search = getattr(coarse, "search_numpy", coarse.search)
    _, rows = search(queries, count, params=_make_parameters(coarse, parameters, count))
    return np.asarray(rows)


def _make_parameters(index: Any, parameters: Mapping[str, int], count: int) -> Any:
    """Return the parameters of a search in a FAISS index, and in those that it is made of."""
    from .kernels import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        factor = parameters.get("k_factor", 1)
        inner = _make_parameters(index.base_index, parameters, count * factor)
        return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _make_parameters(index.index, parameters, count)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=parameters.get("nprobe", 1))
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(parameters.get("efSearch", 16), count))
    return None


def pair_cosines(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return [Q, n] the cosines of queries [Q, dim] and vectors [Q, n, dim], those of each query.

    Each pair's is computed for itself: the same two vectors have the same cosine everywhere.
    """
    return np.asarray(np.vecdot(vectors, queries[:, None]))


def check_matrix(vectors: NDArray[Any]) -> None:
    """Raise ValueError unless vectors are [N, dim] float16 or float32, without reading them."""
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32):
        raise ValueError(
            f"vectors {vectors.shape} {vectors.dtype}, want [N, dim] float16 or float32"
        )


def check_vectors(
    embeddings: NDArray[np.floating], name: str, first: int = 0
) -> NDArray[np.float32]:
    """Return embeddings [N, dim] as float32. Raises ValueError unless all rows have length 1.

    Errors say what they are, by name, and count rows from `first`.
    """
    vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"{name} embeddings have shape {vectors.shape}, want [N, dim]")
    lengths = np.sqrt(np.vecdot(vectors, vectors))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < LENGTH_TOLERANCE))
    if len(wrong):
        row = first + int(wrong[0])
        raise ValueError(f"{name} embedding {row} has length {lengths[wrong[0]]:.4g}, want 1")
    return vectors
