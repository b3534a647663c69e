"""Heads that make the right class harder to reach in training: ArcFace, CosFace, sub-centres.

Directions and margins are those of pytorch-metric-learning's losses; of these only the cosines and
the margin are used, since the loss is the caller's and a whole loss of the library keeps two more
tensors [B, C]. Their margin is one number, so margins of each class's own are made here.
"""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, SubCenterArcFaceLoss
from pytorch_metric_learning.utils.common_functions import TorchInitWrapper
from torch import Tensor, nn

from .cosines import LeanCosine
from .plain_heads import DirectionHead

MARGIN_POWER = -0.25  # of the class's size
# At a cosine of 1 or -1 the slope of the angle is infinite: one such image would end a training.
MOST_COSINE = 1 - 1e-6


def add_angle(cosines: Tensor, margins: Tensor | float) -> Tensor:
    """Return the cosines [B] of angles that are larger by margins [B], in radians.

    Where the sum is above pi, cosine - margin * sin(margin) goes on falling with the angle, as in
    pytorch-metric-learning, which takes one margin for all.

    Source: Deng et al.: ArcFace, 2019, eq. 3; the continuation is that of the authors' program.
    """
    margins = torch.as_tensor(margins, dtype=cosines.dtype, device=cosines.device)
    angles = cosines.clamp(-1, 1).acos()
    further = cosines - margins * margins.sin()
    return torch.where(angles <= math.pi - margins, (angles + margins).cos(), further)


def class_margins(class_sizes: NDArray[np.int64], least: float, most: float) -> NDArray[np.float32]:
    """Return the margin of each class [C]: a * size ** (-1/4) + b, larger for rarer classes.

    The rarest class has the most, the commonest the least; classes of one size all have the most.

    >>> [round(m, 3) for m in class_margins(np.array([1, 16, 10_000]), 0.05, 0.5).tolist()]
    [0.5, 0.25, 0.05]

    Args:
        class_sizes: [C] images of each class, 1 or more.
        least: margin of the commonest class, radians.
        most: margin of the rarest class, radians.

    Raises:
        ValueError: a class without images, or least above most.

    Source:
        Ha et al.: Google Landmark Recognition 2020 Competition Third Place Solution, 2020,
        arXiv 2010.05350, section 2.2; a and b follow from least and most as in the authors'
        program, where these are .05 and .5, with a scale of 80 and three centres.
    """
    if class_sizes.ndim != 1 or not len(class_sizes) or class_sizes.min() < 1:
        raise ValueError(
            f"class sizes {class_sizes.shape}, some of them {np.unique(class_sizes)[:3]}; expected "
            "[C], each 1 or more; leave classes without images out"
        )
    if least > most:
        raise ValueError(
            f"least_margin {least:g} > margin {most:g}; the commonest class has the least margin"
        )
    powers = class_sizes.astype(np.float64) ** MARGIN_POWER
    low, high = powers.min(), powers.max()
    share = (powers - low) / (high - low) if high > low else np.ones(len(powers))
    return (least + share * (most - least)).astype(np.float32)


def _lean(dim: int) -> dict[str, Any]:
    """Return what is set in each loss: less memory, and first directions of length about 1."""
    start = TorchInitWrapper(nn.init.normal_, std=dim**-0.5)
    return {"distance": LeanCosine(), "weight_init_func": start}


class MarginHead(DirectionHead):
    """Scaled cosines, of which that of the right class is lowered by a margin.

    Attributes:
        most: what the margin stays below; a larger one, as of degrees, may even raise the cosine.
        margin: radians or cosine.
        loss: of pytorch-metric-learning; its W [dim, C * centres] are the directions.
    """

    most: ClassVar[float] = math.pi
    loss: Any

    def __init__(self, dim: int, classes: int, scale: float, margin: float) -> None:
        """Take sizes, scale and margin. Raises ValueError if one is out of range."""
        super().__init__(dim, classes, scale)
        if not 0 <= margin < self.most:
            raise ValueError(
                f"margin {margin:g} of a head '{self.kind}'; expected 0 or more, and below "
                f"{self.most:g}: it is in radians, that of cosface a cosine"
            )
        self.margin = margin

    @property
    def config(self) -> dict[str, float]:
        """Sizes, scale and margin."""
        return {**super().config, "margin": self.margin}

    def cosines(self, features: Tensor) -> Tensor:
        """Return cosines [B, C] to the directions, the nearest of each class."""
        cosines: Tensor = self.loss.get_cosine(features)
        return cosines

    def add_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return lower cosines [B] for those of the right classes [B]."""
        lowered: Tensor = self.loss.modify_cosine_of_target_classes(cosines)
        return lowered

    def compute_logits(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return scaled cosines, with labels those of the right classes lowered."""
        cosines = self.cosines(features)
        if labels is None:
            return self.scale * cosines
        places = labels[:, None]
        right = cosines.gather(1, places)[:, 0].clamp(-MOST_COSINE, MOST_COSINE)
        return self.scale * cosines.scatter(1, places, self.add_margin(right, labels)[:, None])


class ArcFaceHead(MarginHead):
    """The margin is added to the angle.

    Source: Deng et al.: ArcFace: Additive Angular Margin Loss for Deep Face Recognition, 2019.
    """

    kind = "arcface"

    def __init__(self, dim: int, classes: int, scale: float = 16.0, margin: float = 0.3) -> None:
        """Start from random directions; margin in radians."""
        super().__init__(dim, classes, scale, margin)
        self.loss = ArcFaceLoss(
            classes, dim, margin=math.degrees(margin), scale=scale, **_lean(dim)
        )


class CosFaceHead(MarginHead):
    """The margin is taken off the cosine.

    Source: Wang et al.: CosFace: Large Margin Cosine Loss for Deep Face Recognition, 2018.
    """

    kind = "cosface"
    most = 2.0

    def __init__(self, dim: int, classes: int, scale: float = 16.0, margin: float = 0.3) -> None:
        """Start from random directions; margin in cosine."""
        super().__init__(dim, classes, scale, margin)
        self.loss = CosFaceLoss(classes, dim, margin=margin, scale=scale, **_lean(dim))


class SubcenterHead(MarginHead):
    """ArcFace with several directions a class, of which the nearest counts, and a margin for each.

    Landmarks have several faces, and mislabelled photos go to a centre of their own.

    Attributes:
        margins: [C] float32, radians; part of the saved state.

    Source: Deng et al.: Sub-center ArcFace, 2020; dynamic margins: see class_margins.
    """

    kind = "subcenter"
    margins: Tensor

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 16.0,
        margin: float = 0.3,
        centers: int = 3,
    ) -> None:
        """Start from random directions, and from the same margin, in radians, for all classes."""
        super().__init__(dim, classes, scale, margin)
        self.centers = centers
        self.register_buffer("margins", torch.full((classes,), float(margin)))
        self.loss = SubCenterArcFaceLoss(
            num_classes=classes,
            embedding_size=dim,
            margin=math.degrees(margin),
            scale=scale,
            sub_centers=centers,
            **_lean(dim),
        )

    @property
    def config(self) -> dict[str, float]:
        """Sizes, scale, margin and number of centres."""
        return {**super().config, "centers": self.centers}

    def set_margins(self, class_sizes: NDArray[np.int64], least: float) -> None:
        """Give each class a margin by its size [C], from `least` to the head's own."""
        if len(class_sizes) != self.classes:
            raise ValueError(f"{len(class_sizes)} class sizes for a head of {self.classes} classes")
        self.margins.copy_(torch.from_numpy(class_margins(class_sizes, least, self.margin)))

    def add_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the cosines [B] of angles that are larger by the margins of the classes [B]."""
        return add_angle(cosines, self.margins[labels])
