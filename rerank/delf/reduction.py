"""Shorten local descriptors: principal components, or an encoder that is trained.

Knows nothing of backbones, scales or files.
"""

import torch
from torch import Tensor, nn

from embed.errors import InputError


class Reduction(nn.Module):
    """A linear map of unit descriptors, back to length 1: L2 norm, project, L2 norm."""

    def __init__(self, channels: int, dim: int) -> None:
        """Start at random. Raises InputError unless dim is at most channels."""
        super().__init__()
        if dim > channels:
            raise InputError(
                f"rerank.delf.dim = {dim}: the map has {channels} channels; lower it, or choose a "
                "rerank.delf.stride whose map has more"
            )
        self.projection = nn.Linear(channels, dim)

    def forward(self, descriptors: Tensor) -> Tensor:
        """Map [N, C] to [N, dim], rows of length 1."""
        unit = nn.functional.normalize(descriptors, dim=1)
        return nn.functional.normalize(self.projection(unit), dim=1)


def check_count(count: int, dim: int) -> None:
    """Raise InputError if so many descriptors are too few for dim principal components."""
    if count <= dim:
        raise InputError(
            f"{count} local descriptors are too few for {dim} principal components; train on more "
            "images, or lower rerank.delf.dim"
        )


class Moments:
    """Mean and covariance of descriptors that come in parts."""

    def __init__(self, channels: int) -> None:
        """Start without any."""
        self.count = 0
        self.total = torch.zeros(channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, descriptors: Tensor) -> None:
        """Take [N, C] descriptors, brought to length 1 here."""
        unit = nn.functional.normalize(descriptors.double(), dim=1).cpu()
        self.count += len(unit)
        self.total += unit.sum(dim=0)
        self.products += unit.T @ unit

    def fit_pca(self, reduction: Reduction) -> float:
        """Set the projection to the leading principal components, not whitened.

        Each component's largest value is positive, so that equal data give equal signs.

        Returns:
            The share of the variance that is kept, 0 to 1.

        Raises:
            InputError: fewer descriptors than dim + 1.
        """
        dim = reduction.projection.out_features
        check_count(self.count, dim)
        mean = self.total / self.count
        variances, vectors = torch.linalg.eigh(self.products / self.count - mean.outer(mean))
        components = vectors.flip(1)[:, :dim].T
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        components = components * largest.sign()
        with torch.no_grad():
            reduction.projection.weight.copy_(components)
            reduction.projection.bias.copy_(-components @ mean)
        kept = variances.flip(0)[:dim].sum() / variances.sum().clamp(min=1e-12)
        return float(kept.clamp(0.0, 1.0))
