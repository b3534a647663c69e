"""What every classification head is, and the heads without a margin: cosine and linear.

A head knows the classes it was trained on and no others. Knows no landmark ids and no files.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from .cosines import direction_cosines


class Head(nn.Module, ABC):
    """Features to one logit a class, in float32 whatever the precision around it.

    In bfloat16 two cosines of which one is .5 % larger are the same number.

    Attributes:
        kind: name in the recipe and in the file.
        dim: length of the features.
        classes: C.
    """

    kind: ClassVar[str]

    def __init__(self, dim: int, classes: int) -> None:
        """Take the sizes. Raises ValueError unless both are 1 or more."""
        super().__init__()
        if dim < 1 or classes < 1:
            raise ValueError(f"a head of {classes} classes for features of length {dim}; give both")
        self.dim, self.classes = dim, classes

    @property
    def config(self) -> dict[str, float]:
        """Arguments that build a head of the same shape: what a file needs besides the tensors."""
        return {"dim": self.dim, "classes": self.classes}

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits [B, C] float32.

        Args:
            features: [B, dim], rows of any length.
            labels: [B] int64, the right classes. A head with a margin then makes these harder to
                reach, which is for training alone; others ignore them.

        Raises:
            ValueError: features of another length.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(
                f"features {tuple(features.shape)}, expected [B, {self.dim}]; "
                "take the head that was trained with this model"
            )
        with torch.autocast(features.device.type, enabled=False):
            return self.compute_logits(features.float(), labels)

    @abstractmethod
    def compute_logits(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return what forward does, of float32 features of the right length."""

    def score(self, logits: Tensor) -> Tensor:
        """Return how well each class fits [B, C], of logits that were computed without labels.

        That is the cosine, in [-1, 1], where a class is a direction, else the softmax probability.
        """
        return logits.float().softmax(dim=1)


class DirectionHead(Head):
    """Scaled cosine between the features and what stands for a class.

    Attributes:
        scale: the largest logit.
    """

    def __init__(self, dim: int, classes: int, scale: float = 16.0) -> None:
        """Take the sizes and the scale. Raises ValueError unless it is above 0."""
        super().__init__(dim, classes)
        if scale <= 0:
            raise ValueError(f"scale {scale:g} of a head; expected a number above 0")
        self.scale = scale

    @property
    def config(self) -> dict[str, float]:
        """Sizes and scale."""
        return {**super().config, "scale": self.scale}

    @abstractmethod
    def cosines(self, features: Tensor) -> Tensor:
        """Return cosines [B, C] of features [B, dim] float32 to the classes."""

    def compute_logits(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return scaled cosines; the labels have no say."""
        return self.scale * self.cosines(features)

    def score(self, logits: Tensor) -> Tensor:
        """Return the cosines of logits."""
        return logits.float() / self.scale


class CosineHead(DirectionHead):
    """One learned direction a class.

    Source: Wang et al.: NormFace, 2017, eq. 3; the scale is fixed, not learned.
    """

    kind = "cosine"

    def __init__(self, dim: int, classes: int, scale: float = 16.0) -> None:
        """Start from random directions of length about 1."""
        super().__init__(dim, classes, scale)
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.weight, std=dim**-0.5)

    def cosines(self, features: Tensor) -> Tensor:
        """Return cosines [B, C] to the directions."""
        return direction_cosines(features, self.weight)


class LinearHead(Head):
    """Dropout, then a weight for each feature and a bias a class: the classifier of most networks.

    It has (dim + 1) * classes parameters. The features are taken as they are.
    """

    kind = "linear"

    def __init__(self, dim: int, classes: int, dropout: float = 0.0) -> None:
        """Take the sizes, and the share of the features that training leaves out."""
        super().__init__(dim, classes)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, classes)

    @property
    def config(self) -> dict[str, float]:
        """Sizes and dropout."""
        return {**super().config, "dropout": self.dropout.p}

    def compute_logits(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Return weighted sums of the features; the labels have no say."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits
