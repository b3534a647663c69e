"""DOLG: pool a map into what two of a network's depths say, without saying anything twice.

Knows nothing of backbones or files.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

TINY = 1e-12  # floor of a squared length, so that a vector of zeros takes nothing away


def orthogonal_part(vectors: Tensor, directions: Tensor) -> Tensor:
    """Return vectors [B, C] without what of them points along directions [B, C] of any length.

    Source: Yang et al. 2021, equations 1 to 4.
    """
    along = (vectors * directions).sum(dim=1, keepdim=True)
    squared = directions.square().sum(dim=1, keepdim=True).clamp(min=TINY)
    return vectors - along / squared * directions


class MultiAtrous(nn.Module):
    """Look at each location with 3 x 3 convolutions of several dilations, and at the whole map.

    As in ASPP: half as many channels a branch as come out, all side by side through a 1 x 1
    convolution and ReLU.
    """

    def __init__(self, channels: int, outputs: int, dilations: Sequence[int]) -> None:
        """Build for maps of so many channels; dilations in locations."""
        super().__init__()
        width = max(outputs // 2, 1)
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=rate, dilation=rate) for rate in dilations
        )
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, width, 1))
        self.merge = nn.Conv2d(width * (len(dilations) + 1), outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to [B, outputs, h, w]."""
        seen = [branch(features) for branch in self.branches]
        seen.append(self.whole(features).relu().expand_as(seen[0]))
        merged: Tensor = self.merge(torch.cat(seen, dim=1))
        return merged.relu()


class LocationAttention(nn.Module):
    """Bring the vector of each location to length 1, times a score that is learned and above 0."""

    def __init__(self, channels: int) -> None:
        """Build for maps of so many channels."""
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to the same shape."""
        embedded = self.embed(features)
        return softplus(self.score(embedded.relu())) * normalize(embedded, dim=1)


class Dolg(nn.Module):
    """Orthogonal fusion of a global vector with local features of an earlier map.

    GeM and a linear layer make the global vector g of the last map. The earlier map goes through
    MultiAtrous and LocationAttention; of the vector of each location what points along g is taken
    away, and the mean over locations is laid beside g. Taking away is linear, so the mean comes
    first here: the same numbers, without a map of them.

    Source: Yang et al.: DOLG, ICCV 2021, section 3; the parts are those of the authors' program.
    The layer behind it is the model's neck (train.dim). Differs: the exponent of GeM is learned.
    """

    def __init__(self, gem: nn.Module, channels: int, width: int, dilations: Sequence[int]) -> None:
        """Build around what pools the last map.

        Args:
            gem: maps to vectors of its `out_features`.
            channels: of the earlier map.
            width: of either half of what comes out.
            dilations: of MultiAtrous, locations.
        """
        super().__init__()
        self.out_features = 2 * width
        self.gem = gem
        self.project = nn.Linear(int(gem.out_features), width)  # type: ignore[arg-type]
        self.atrous = MultiAtrous(channels, width, dilations)
        self.attention = LocationAttention(width)

    def forward(self, last: Tensor, earlier: Tensor) -> Tensor:
        """Pool maps [B, C, h, w] and [B, channels, h', w'] to [B, 2 * width] float32."""
        whole = self.project(self.gem(last)).float()
        local = self.attention(self.atrous(earlier)).float().mean(dim=(-2, -1))
        return torch.cat([whole, orthogonal_part(local, whole)], dim=1)
