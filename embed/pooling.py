"""Pool a feature map into one vector. Knows nothing of backbones or files.

All functions take maps of any size of at least 1 x 1. They return the precision of the map, but
compute sums and powers in float32, as these lose most of bfloat16's eight bits; what is brought to
length 1 stays float32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from .bilinear import CompactBilinear
from .dolg import Dolg
from .network_settings import PoolingSettings

OVERLAP = 0.4  # share that neighbouring regions of R-MAC's first level have in common, nearly


def gem(features: Tensor, p: Tensor | float, eps: float = 1e-6) -> Tensor:
    """Pool by the generalised mean over positions.

    Args:
        features: [B, C, H, W] float; values below eps count as eps.
        p: exponent above 0; 1 is the mean (SPoC), towards infinity the maximum (MAC).
        eps: floor of the values, so that the power has a gradient.

    Returns:
        [B, C], in the precision of features.

    Source:
        Radenović, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human
        Annotation, 2018, equation 3.
    """
    values = features.float().clamp(min=eps).pow(p).mean(dim=(-2, -1))
    return values.pow(1.0 / p).to(features.dtype)


def spoc(features: Tensor) -> Tensor:
    """Pool by the mean over positions: [B, C, H, W] to [B, C].

    Source:
        Babenko, Lempitsky: Aggregating Deep Convolutional Features for Image
        Retrieval, 2015, equation 2, divided by the number of positions and without the prior that
        favours the centre.
    """
    return features.float().mean(dim=(-2, -1)).to(features.dtype)


def mac(features: Tensor) -> Tensor:
    """Pool by the maximum over positions: [B, C, H, W] to [B, C].

    Source:
        Tolias, Sicre, Jégou: Particular Object Retrieval with Integral Max-Pooling of CNN
        Activations, 2016, equation 2.
    """
    return features.amax(dim=(-2, -1))


@dataclass(frozen=True)
class Regions:
    """The squares of one level of R-MAC: one at each pair of a top and a left."""

    side: int  # locations of the map
    tops: list[int]
    lefts: list[int]


def rmac_regions(height: int, width: int, levels: int) -> list[Regions]:
    """Place the regions of R-MAC on a map, level by level.

    Level l has l squares along the shorter side of the map and l + m - 1 along the longer one, m
    chosen so that squares of the first level overlap by nearly 40 %. On small maps, where several
    would lie on the same place, there is one: else those at the top left would count more.

    Source:
        Tolias, Sicre, Jégou 2016, section 3.2. Their code has m at most 7; here m has no limit, so
        that the first level covers maps of any shape.

    >>> rmac_regions(7, 7, 3)[2]
    Regions(side=3, tops=[0, 2, 4], lefts=[0, 2, 4])
    """
    short, excess = min(height, width), abs(height - width)
    overlaps = {more: 1 - excess / (more * short) for more in range(1, excess + 1)}
    more = min(overlaps, key=lambda m: abs(overlaps[m] - OVERLAP), default=0)
    regions = []
    for level in range(1, levels + 1):
        side = max(2 * short // (level + 1), 1)
        rows = level + (more if height > width else 0)
        columns = level + (more if width > height else 0)
        regions.append(Regions(side, _spread(height - side, rows), _spread(width - side, columns)))
    return regions


def _spread(room: int, count: int) -> list[int]:
    """Return count starts from 0 to room at equal distances, rounded down, each one once."""
    return sorted({place * room // max(count - 1, 1) for place in range(count)})


def rmac(features: Tensor, levels: int = 3) -> Tensor:
    """Pool by the sum of regional maxima, each region's vector of length 1.

    Args:
        features: [B, C, H, W] float.
        levels: sizes of regions, from the largest square that fits to 2 / (levels + 1) of it.

    Returns:
        [B, C], in the precision of features.

    Source:
        Tolias, Sicre, Jégou 2016, section 3.2, without the whitening of regions.
    """
    pooled = features.new_zeros(features.shape[:2], dtype=torch.float32)
    # While a graph is traced, sizes are tensors: a set would keep two that are equal.
    height, width = (int(length) for length in features.shape[-2:])
    for regions in rmac_regions(height, width, levels):
        maxima = nn.functional.max_pool2d(features.float(), regions.side, stride=1)
        maxima = maxima[:, :, regions.tops][:, :, :, regions.lefts]
        # The default eps would give the gradient of a region of zeros a factor of 1e12.
        pooled = pooled + nn.functional.normalize(maxima, dim=1, eps=1e-6).sum(dim=(-2, -1))
    return pooled.to(features.dtype)


def flatten_grid(features: Tensor, grid: int = 4) -> Tensor:
    """Lay the means of grid x grid cells side by side: [B, C, H, W] to [B, C * grid * grid].

    Cells share locations where the size of the map is no multiple of the grid; a map smaller than
    the grid repeats its own. All cells of a channel are neighbours, row by row.
    """
    cells = nn.functional.adaptive_avg_pool2d(features.float(), grid)
    return cells.flatten(1).to(features.dtype)


def superglobal(
    features: Tensor,
    *,
    p: float = 4.6,
    region: int = 5,
    region_p: float = 2.5,
    region_share: float = 0.5,
    least: float = 0.014,
) -> Tensor:
    """Pool by the generalised mean of a map mixed with the generalised means of its regions.

    Args:
        features: [B, C, H, W] float; values below `least` count as `least` (ReLUP).
        p: exponent over positions; above training's 3, strong responses count more (GeM+).
        region: locations, the side of the square around each position; odd.
        region_p: exponent over a region.
        region_share: of the mixed map that comes from the regions (regional GeM).
        least: above 0.

    Returns:
        [B, C], in the precision of features.

    Source:
        Shao et al.: Global Features are All You Need for Image Retrieval and Reranking, 2023,
        section 3.2 and their code, with two differences, so that any backbone and map will do:
        they raise values within a ResNet, before its last stage, here it is done to the last map;
        at a border they mirror the map, here a region ends there.
    """
    values = features.float().clamp(min=least)
    means = nn.functional.avg_pool2d(
        values.pow(region_p), region, stride=1, padding=region // 2, count_include_pad=False
    )
    mixed = (1 - region_share) * values + region_share * means.pow(1 / region_p)
    return gem(mixed, p).to(features.dtype)


class GeM(nn.Module):
    """Generalised-mean pooling whose exponent is trained, one for all channels."""

    def __init__(self, channels: int, p: float = 3.0) -> None:
        """Start at exponent p; 3 is the paper's initial value."""
        super().__init__()
        self.out_features = channels
        self.p = nn.Parameter(torch.tensor(float(p)))

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C]. The exponent is kept at 1 or above."""
        return gem(features, self.p.clamp(min=1.0))


class FixedPooling(nn.Module):
    """A pooling without parameters, as a module."""

    def __init__(self, pool: Callable[[Tensor], Tensor], out_features: int) -> None:
        """Wrap a function of maps [B, C, H, W] that returns [B, out_features]."""
        super().__init__()
        self.pool, self.out_features = pool, out_features

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, out_features]."""
        return self.pool(features)


class ClsGeM(nn.Module):
    """The token of the whole image and generalised means of the patches, side by side.

    Each is brought to length 1 first, so that a cosine is the weighted mean of both cosines.
    """

    def __init__(self, channels: int, p: float = 3.0, token_share: float = 0.5) -> None:
        """Start at exponent p; the token has token_share of the cosine."""
        super().__init__()
        self.out_features = 2 * channels
        self.gem, self.token_share = GeM(channels, p), token_share

    def forward(self, features: Tensor, token: Tensor) -> Tensor:
        """Map patches [B, C, H, W] and tokens [B, C] to [B, 2C], rows of length 1, float32."""
        patches, whole = (
            nn.functional.normalize(part.float(), dim=1) for part in (self.gem(features), token)
        )
        return concatenate_weighted(patches, whole, self.token_share)


def concatenate_weighted(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Join descriptors [B, D] and [B, E] of the same images, so that cosines are weighted means.

    Returns:
        [B, D + E], rows of length 1 as those of both; of each cosine the share is the second's.
    """
    return torch.cat([(1 - share) ** 0.5 * first, share**0.5 * second], dim=1)


Pooling = GeM | FixedPooling | CompactBilinear | ClsGeM | Dolg


def build_pooling(settings: PoolingSettings, channels: int, earlier: int = 0) -> Pooling:
    """Make the module that pools maps [B, channels, H, W] to [B, its out_features].

    Kind cls-gem takes tokens [B, channels] beside them, dolg maps [B, earlier, H', W'].
    """
    if settings.kind == "gem":
        return GeM(channels, settings.p)
    if settings.kind == "cls-gem":
        return ClsGeM(channels, settings.p, settings.token_share)
    if settings.kind == "dolg":
        return Dolg(GeM(channels, settings.p), earlier, settings.width, settings.dilations)
    if settings.kind == "bilinear":
        return CompactBilinear(channels, settings.bilinear_dim)
    if settings.kind == "flatten":
        cells = settings.grid**2
        return FixedPooling(partial(flatten_grid, grid=settings.grid), channels * cells)
    if settings.kind == "rmac":
        return FixedPooling(partial(rmac, levels=settings.levels), channels)
    if settings.kind == "superglobal":
        numbers = settings.model_dump(exclude={"kind"})
        return FixedPooling(partial(superglobal, **numbers), channels)
    return FixedPooling(spoc if settings.kind == "spoc" else mac, channels)
