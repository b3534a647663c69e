"""A classification head with the landmarks of its classes: what extraction asks beside the model.

Reads head.safetensors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.head_scores import HeadScores

from .heads import Head, load_head, rank_classes


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head in eval mode, and the landmark_id of each of its C classes; an embed Classifier."""

    head: Head
    landmark_ids: NDArray[np.int64]  # [C]

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """Read a saved head; errors as load_head."""
        head, landmark_ids = load_head(path)
        return cls(head.to(device), landmark_ids)

    def logits(self, features: Tensor) -> Tensor:
        """Return [B, C] for features [B, dim] of any length."""
        logits: Tensor = self.head(features)
        return logits

    def rank(self, logits: Tensor) -> HeadScores:
        """Return the likeliest landmarks of each row of [B, C]."""
        return rank_classes(self.head, logits, self.landmark_ids)
