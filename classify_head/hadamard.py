"""The Hadamard classifier: fixed directions, so that many classes cost next to no parameters.

The matrix is never made: the fast Walsh-Hadamard transform multiplies by it in O(n log n).
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .plain_heads import Head

BLOCK_BITS = 6  # the transform multiplies by blocks of order 64, which a processor does best
COLUMNS_SEED = 0


def next_power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a number of 1 or more.

    >>> [next_power_of_two(number) for number in (1, 2, 3, 14951)]
    [1, 2, 4, 16384]
    """
    return 1 << (number - 1).bit_length()


def _small_matrix(bits: int, like: Tensor) -> Tensor:
    """Return the Hadamard matrix of order 2 ** bits, values 1 and -1."""
    matrix = like.new_ones(1, 1)
    for _ in range(bits):
        matrix = torch.kron(like.new_tensor([[1, 1], [1, -1]]), matrix)
    return matrix


def _transform(rows: Tensor) -> Tensor:
    count, order = rows.shape
    left = order.bit_length() - 1
    while left:
        bits = min(left, BLOCK_BITS)
        # The matrix is a Kronecker product of blocks, each for some bits of the position. A turn
        # does the lowest bits and moves them to the top: at the end all are where they were.
        mixed = rows.reshape(count, -1, 1 << bits) @ _small_matrix(bits, rows)
        rows = mixed.transpose(1, 2)
        left -= bits
    return rows.reshape(count, order)


class _WalshHadamard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return _transform(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return walsh_hadamard(gradient)  # the matrix is symmetric


def walsh_hadamard(rows: Tensor) -> Tensor:
    """Multiply rows by the Hadamard matrix of Sylvester's order (that of scipy.linalg.hadamard).

    Args:
        rows: [B, n] float, n a power of two.

    Returns:
        [B, n], not normalised: twice the transform is n times the rows.

    Raises:
        ValueError: n is no power of two.
    """
    if rows.ndim != 2 or rows.shape[1] != next_power_of_two(max(rows.shape[1], 1)):
        raise ValueError(
            f"rows {tuple(rows.shape)}, expected [B, n] with n a power of two; pad them with zeros"
        )
    transformed: Tensor = _WalshHadamard.apply(rows)
    return transformed


def pick_columns(dim: int, order: int) -> Tensor:
    """Return which columns of the matrix of this order the features stand for [dim] int64.

    All, in their order, if there are as many. Else they are drawn, always the same: by the first
    ones, as in the paper, classes are badly told apart. The first 2 ** k columns repeat after
    2 ** k rows: with 2,048 features classes 2,048 apart would have one direction, and with 1,280
    features classes 1,024 apart would agree in four fifths. The cosine of two drawn rows is around
    0, give or take 1 / sqrt(dim).
    """
    if dim == order:
        return torch.arange(dim)
    drawn = np.random.default_rng(COLUMNS_SEED).permutation(order)[:dim]
    return torch.from_numpy(drawn.astype(np.int64))


class HadamardHead(Head):
    """Scaled cosine to the fixed rows of a Hadamard matrix, and a learned bias a class.

    One scale is learned for all: with the biases, classes + 1 parameters.

    Source: Hoffer, Hubara, Soudry: Fix your classifier, 2018, arXiv 1801.04540, section 3.2. We
    differ in three points: rows are divided by sqrt(dim), so that the scale is that of cosines; the
    columns are those of pick_columns; and the first row, all ones, is no class: whatever comes out
    of a ReLU points there, so that class got all answers and the others learned next to nothing.
    """

    kind = "hadamard"
    columns: Tensor

    def __init__(self, dim: int, classes: int, scale: float = 16.0) -> None:
        """Start with this scale and without biases."""
        super().__init__(dim, classes)
        self.order = next_power_of_two(max(dim, classes + 1))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.register_buffer("columns", pick_columns(dim, self.order))

    def compute_logits(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return scaled cosines plus biases; the labels have no say."""
        rows = nn.functional.normalize(features, dim=1)
        padded = rows.new_zeros(len(rows), self.order).index_copy(1, self.columns, rows)
        cosines = walsh_hadamard(padded)[:, 1 : self.classes + 1] / math.sqrt(self.dim)
        return self.scale * cosines + self.bias
