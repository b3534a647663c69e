"""Cosines between features and learned directions, without a second copy of the directions.

With 203,094 classes the directions are most of the memory of a training. Autograd through
`normalize(directions)` keeps the normalised copy, its gradient and what the norm's own gradient
needs; here the products are divided by the lengths, and the gradient is written once.
"""

from typing import Any

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST_LENGTH = 1e-12  # of a direction: a row of zeros has the cosine 0 to everything


class _DirectionCosines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, directions: Tensor) -> Tensor:
        lengths = directions.norm(dim=1).clamp(min=LEAST_LENGTH)
        cosines = (rows @ directions.T).div_(lengths)
        ctx.save_for_backward(rows, directions, lengths, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, directions, lengths, cosines = ctx.saved_tensors
        for_rows = for_directions = None
        scaled = gradient / lengths
        if ctx.needs_input_grad[0]:
            for_rows = scaled @ directions
        if ctx.needs_input_grad[1]:
            # In the layout of the directions: another one would be copied when it is accumulated.
            for_directions = torch.empty_like(directions)
            torch.mm(scaled.T, rows, out=for_directions)
            # What points along a direction changes its length alone, which has no say.
            along = (gradient * cosines).sum(dim=0) / lengths.square()
            for_directions.addcmul_(directions, along[:, None], value=-1)
        return for_rows, for_directions


def direction_cosines(features: Tensor, directions: Tensor) -> Tensor:
    """Return the cosine [B, C] of each feature to each direction; it can be differentiated once.

    Args:
        features: [B, dim] float, rows of any length.
        directions: [C, dim] float, rows of any length.
    """
    rows = torch.nn.functional.normalize(features, dim=1)
    cosines: Tensor = _DirectionCosines.apply(rows, directions)
    return cosines


class LeanCosine(CosineSimilarity):  # type: ignore[misc]
    """The same cosines as the distance of a loss of pytorch-metric-learning."""

    def forward(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Return cosines [B, C] of features [B, dim] and directions [C, dim]."""
        return direction_cosines(query_emb, ref_emb)
