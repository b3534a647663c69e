"""Lay out the locations of an image pyramid, and pick the best that do not overlap.

Images are squares of several sides, so all have the same locations: geometry is computed once and
in shares of the side, whatever the shape of the original. Knows nothing of descriptors or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from embed.backbone import Backbone, Level

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pyramid:
    """The locations of all maps of an image, map after map, each row by row."""

    centers: Floats  # [T, 2] (x, y) in shares of the side: 0 is the left or upper edge, 1 the other
    cells: Floats  # [T] distance of neighbouring locations in shares of the side

    def place(self, rows: NDArray[np.int64], size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return keypoints and scales of some locations in an image.

        Args:
            rows: [N] locations.
            size: (width, height) of the original image in pixels.

        Returns:
            Keypoints [N, 2], (x, y) pixels of the original image, centre of the top-left pixel =
            (0, 0), and scales [N]: the distance of neighbouring locations in those pixels, the
            geometric mean of both axes. What a location sees is several times as wide.
        """
        keypoints = self.centers[rows] * np.array(size) - 0.5
        return keypoints, self.cells[rows] * np.sqrt(size[0] * size[1])


def build_pyramid(
    sides: Sequence[int], map_sizes: Sequence[tuple[int, int]], stride: int, center: float
) -> Pyramid:
    """Lay out the locations of the maps of an image.

    Args:
        sides: of the squares, in pixels.
        map_sizes: (rows, columns) of the map of each.
        stride: pixels between neighbouring locations.
        center: pixel on which the first location of a row is centred, as `measure_center` finds.
    """
    centers, cells = [], []
    for side, (height, width) in zip(sides, map_sizes, strict=True):
        y, x = np.mgrid[:height, :width].reshape(2, -1) * stride
        centers.append((np.stack([x, y], axis=1) + center + 0.5) / side)
        cells.append(np.full(height * width, stride / side))
    return Pyramid(np.concatenate(centers), np.concatenate(cells))


def select(
    scores: NDArray[np.float32],
    pyramid: Pyramid,
    *,
    max_features: int,
    threshold: float,
    max_overlap: float,
) -> NDArray[np.int64]:
    """Return the rows of the locations to keep, by falling score; ties go to the lowest row.

    A location is dropped if its cell, a square, overlaps that of a better one by more than
    max_overlap (intersection over union); 1 keeps all.

    Args:
        scores: [T] of the pyramid's locations.
        pyramid: where they lie.
        max_features: largest number of rows.
        threshold: least score.
        max_overlap: in (0, 1].
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= threshold]
    if max_overlap < 1 and len(order):
        half = pyramid.cells[order, None] / 2
        corners = np.concatenate([pyramid.centers[order] - half, pyramid.centers[order] + half], 1)
        # Ranks instead of scores: they have no ties.
        ranks = -torch.arange(len(order), dtype=torch.float64)
        order = order[nms(torch.from_numpy(corners), ranks, max_overlap).numpy()]
    return order[:max_features].astype(np.int64)


def measure_center(backbone: Backbone, level: Level, side: int, *, probes: int = 16) -> float:
    """Find the input pixel that the first location of a map's row looks at.

    Paddings and even kernels shift maps: by 0 pixels in a ResNet, by 7.5 in a ConvNeXt, by up to
    15 with TensorFlow's padding (all at stride 16). What counts is where the weights look, so it
    is measured: the mean position, weighted by the squared gradient, of the pixels that a location
    in the middle of the map depends on, for images of noise.

    Args:
        backbone: in eval mode.
        level: which map.
        side: of the square of noise, in pixels.
        probes: images of noise, each with another random direction in the space of descriptors.

    Returns:
        Pixels to two decimals, centre of the first pixel = 0; the mean of both axes. Half a cell,
        (stride - 1) / 2, where the map does not depend on the image.
    """
    generator = torch.Generator().manual_seed(0)
    device = next(backbone.parameters()).device
    noise = torch.randn(probes, 3, side, side, generator=generator).to(device).requires_grad_()
    maps = backbone.forward_to(noise, level)
    directions = torch.randn(maps.shape[:2], generator=generator).to(device)
    middle = maps.shape[-1] // 2
    (gradient,) = torch.autograd.grad((maps[..., middle, middle] * directions).sum(), noise)
    weights = gradient.double().square().sum(dim=(0, 1)).cpu()
    marginal = weights.sum(dim=0) + weights.sum(dim=1)
    if not marginal.sum() > 0:
        return (level.stride - 1) / 2
    position = torch.arange(side, dtype=torch.float64) - middle * level.stride
    center = float((marginal * position).sum() / marginal.sum())
    return round(min(max(center, 0.0), level.stride - 1.0), 2)  # theory knows no others
