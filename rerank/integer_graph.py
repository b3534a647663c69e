"""Cosines of rows of 8 bits, as integers by OpenVINO: less than half the time of float32.

Knows nothing of matches. Reads and writes no files.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.graph import has_runtime, import_runtime

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# Multiply-adds that take the graph .3 s less than BLAS. To load it takes .1 s, or .4 s in a process
# that has not imported OpenVINO: it is not worth while for the candidates of one photo.
WORTH_LOADING = 500 * 600 * 600 * 128
# Each number of rows is a shape that the graph prepares itself for, for 5 ms. They are filled up to
# a multiple, which the 600 of most photos are.
ROW_STEP = 120
ZERO_POINT = 128  # one side of a product of integers has a sign


class IntegerGraph:
    """The graph for rows of one dim; threads share it."""

    def __init__(self, dim: int) -> None:
        """Build it.

        Raises:
            RuntimeError: OpenVINO cannot, or sums wrongly: without VNNI some processors clip sums
                of two products at 16 bits.
        """
        openvino = import_runtime()
        self._runtime, self._tensor = openvino.Core(), openvino.Tensor
        self._graph = _build(dim)
        self._idle: list[Any] = []  # requests that no thread uses
        self._check(dim)

    def _make_request(self) -> Any:
        # Each with a graph of its own, which the thread that asks computes alone: with streams of
        # one graph, other threads compute, and it waits for them.
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        return self._runtime.compile_model(self._graph, "CPU", options).create_infer_request()

    def list_cosines(self, rows0: Bytes, candidates: Sequence[Bytes]) -> Iterator[Floats]:
        """Yield the cosines [N, N_c] of rows [N, dim] to those of each candidate [N_c, dim].

        The next one takes its memory. Whole numbers, below 2^24, are scaled in float32.
        """
        request = self._idle.pop() if self._idle else self._make_request()
        left, inverses0 = _fill_up(rows0)
        offsets = ZERO_POINT * left.sum(axis=1, keepdims=True, dtype=np.float32)
        try:
            for place, array in enumerate((left, offsets, inverses0[:, None])):
                request.set_input_tensor(place, self._tensor(array, shared_memory=True))
            for rows1 in candidates:
                right, inverses1 = _fill_up(rows1)
                signed = (right ^ ZERO_POINT).view(np.int8)  # minus it; .1 ms in the graph
                request.set_input_tensor(3, self._tensor(signed, shared_memory=True))
                request.set_input_tensor(4, self._tensor(inverses1[None], shared_memory=True))
                request.infer(share_outputs=True)
                yield request.get_output_tensor(0).data[: len(rows0), : len(rows1)]
        finally:
            self._idle.append(request)

    def _check(self, dim: int) -> None:
        """Compare with float32, the largest values among others."""
        rng = np.random.default_rng(0)
        rows0, rows1 = rng.integers(0, 256, (2, ROW_STEP, dim), dtype=np.uint8)
        rows0[::3], rows1[::2] = 255, 0
        floats0, floats1 = rows0.astype(np.float32), rows1.astype(np.float32)
        expected = floats0 @ floats1.T * invert_norms(floats1) * invert_norms(floats0)[:, None]
        (found,) = self.list_cosines(rows0, [rows1])
        if not np.array_equal(found, expected):
            raise RuntimeError("this processor clips sums of integers")


def invert_norms(rows: Floats) -> Floats:
    """Return [N] 1 / length of rows [N, D]; of a row of zeros a finite number."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return np.asarray(np.float32(1) / np.maximum(norms, np.float32(1e-12)))


def _fill_up(rows: Bytes) -> tuple[Bytes, Floats]:
    """Copy rows [N, dim], zeros up to a multiple of ROW_STEP, and return 1 / length of each."""
    steps = max(1, -(-len(rows) // ROW_STEP))
    filled = np.zeros((steps * ROW_STEP, rows.shape[1]), np.uint8)
    filled[: len(rows)] = rows
    return filled, invert_norms(filled.astype(np.float32))


def _build(dim: int) -> Any:
    """Return openvino.Model: [N, D] uint8 and [M, D] int8, offsets, inverse norms to [N, M]."""
    openvino = import_runtime()
    ops = openvino.opset14
    unsigned, signed, real = openvino.Type.u8, openvino.Type.i8, openvino.Type.f32

    def quantize(node: Any, low: float) -> Any:
        """Say that values are whole numbers from low to low + 255, for an integer kernel."""
        bounds = [ops.constant(np.float32(bound)) for bound in (low, low + 255)]
        return ops.fake_quantize(node, *bounds, *bounds, 256)

    rows0, rows1 = ops.parameter([-1, dim], unsigned), ops.parameter([-1, dim], signed)
    offsets, inverses0 = ops.parameter([-1, 1], real), ops.parameter([-1, 1], real)
    inverses1 = ops.parameter([1, -1], real)
    whole0, whole1 = ops.convert(rows0, real), ops.convert(rows1, real)
    product = ops.matmul(quantize(whole0, 0), quantize(whole1, -ZERO_POINT), False, True)
    cosines = ops.multiply(ops.multiply(ops.add(product, offsets), inverses1), inverses0)
    return openvino.Model([cosines], [rows0, offsets, inverses0, rows1, inverses1], "cosines")


class LazyGraph:
    """Loads the graph once so much was multiplied that it pays."""

    def __init__(self, dim: int) -> None:
        """Load nothing yet."""
        self._dim, self._done, self._lock = dim, 0, Lock()
        self._missing = not has_runtime()
        self._graph: IntegerGraph | None = None

    def get(self, work: int) -> IntegerGraph | None:
        """Return the graph, if it is there, for a task of so many multiply-adds."""
        self._done += work
        worth = self._done >= WORTH_LOADING and self._graph is None and not self._missing
        if worth and self._lock.acquire(blocking=False):  # other threads go on without it
            try:
                self._graph = IntegerGraph(self._dim)
            except (ImportError, RuntimeError) as error:
                logger.info("descriptors are multiplied in float32, not as integers: %s", error)
                self._missing = True
            finally:
                self._lock.release()
        return self._graph


@cache
def find_graph(dim: int) -> LazyGraph:
    """Return the graph for rows of a dim, which a process has once."""
    return LazyGraph(dim)
