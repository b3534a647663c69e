"""Classification heads over global descriptors, trained beside the triplet loss.

A head knows the classes it was trained on and no others: it is the auxiliary loss of training and
the baseline that retrieval has to beat. Reads and writes head.safetensors.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


class CosineHead(nn.Module):
    """Scaled cosine between a descriptor and one learned direction a class.

    Source: Wang et al.: NormFace, 2017, eq. 3; the scale is fixed, not learned.
    """

    def __init__(self, dim: int, classes: int, scale: float = 16.0) -> None:
        """Start from random directions; scale is the largest logit."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.weight, std=dim**-0.5)
        self.scale = scale

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return logits [B, C] for descriptors [B, dim] with rows of length 1."""
        return self.scale * descriptors @ nn.functional.normalize(self.weight, dim=1).T


def save_head(head: CosineHead, landmark_ids: NDArray[np.int64], path: Path) -> None:
    """Write the directions, and which landmark each belongs to."""
    tensors = {
        "weight": head.weight.detach().cpu().contiguous(),
        "landmark_ids": torch.from_numpy(landmark_ids.astype(np.int64)),
    }
    # One key: safetensors writes several in random order, and equal heads shall be equal files.
    save_file(tensors, path, {"scale": repr(head.scale)})


def load_head(path: Path) -> tuple[CosineHead, NDArray[np.int64]]:
    """Read a head in eval mode and the landmark id of each class [C].

    Raises:
        FileNotFoundError: no head at path.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no classification head at {path}; run `cairn train` first")
    with safe_open(str(path), "pt") as file:
        weight, metadata = file.get_tensor("weight"), file.metadata()
        landmark_ids = file.get_tensor("landmark_ids").numpy()
    head = CosineHead(weight.shape[1], weight.shape[0], float(metadata["scale"]))
    head.load_state_dict({"weight": weight})
    return head.eval(), landmark_ids


def predict_head(
    head: CosineHead, landmark_ids: NDArray[np.int64], embeddings: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the most probable landmark [Q] and its softmax probability [Q].

    Args:
        head: with C classes.
        landmark_ids: [C] landmark of each class.
        embeddings: [Q, dim] float32, rows of length 1.
    """
    with torch.inference_mode():
        probabilities = head(torch.from_numpy(embeddings)).softmax(dim=1)
        confidence, best = probabilities.max(dim=1)
    return landmark_ids[best.numpy()], confidence.numpy()
