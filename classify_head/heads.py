"""Build, save, load and read off a classification head of any kind.

A head is trained beside the metric loss and knows the classes it was trained on and no others: it
is the auxiliary loss of training and the baseline that retrieval has to beat. Reads and writes
head.safetensors.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from embed.errors import InputError, MissingFileError
from embed.head_scores import MOST_CLASSES, HeadScores
from embed.network_settings import HeadSettings

from .hadamard import HadamardHead
from .margin_heads import ArcFaceHead, CosFaceHead, SubcenterHead
from .plain_heads import CosineHead, Head, LinearHead

__all__ = ["KINDS", "CosineHead", "Head", "build_head", "load_head", "rank_classes", "save_head"]

# By name: built from the sizes and the numbers of its own, see Head.config.
KINDS: dict[str, Callable[..., Head]] = {
    "cosine": CosineHead,
    "linear": LinearHead,
    "hadamard": HadamardHead,
    "arcface": ArcFaceHead,
    "cosface": CosFaceHead,
    "subcenter": SubcenterHead,
}


def build_head(
    settings: HeadSettings, dim: int, class_sizes: NDArray[np.int64], scale: float
) -> Head:
    """Return a head with its first weights, drawn from torch's random numbers.

    Args:
        settings: which kind.
        dim: length of the features, 1 or more.
        class_sizes: [C] training images of each class.
        scale: largest logit of heads of directions; where the scale is learned, its start.

    Raises:
        ValueError: no classes, or sizes or margins that do not fit.
    """
    numbers = settings.model_dump(exclude={"kind", "least_margin"})
    if settings.kind != "linear":
        numbers["scale"] = scale
    head = KINDS[settings.kind](dim=dim, classes=len(class_sizes), **numbers)
    if settings.kind == "subcenter":
        assert isinstance(head, SubcenterHead)
        head.set_margins(class_sizes, settings.least_margin)
    return head


def save_head(head: Head, landmark_ids: NDArray[np.int64], path: Path) -> None:
    """Write kind, numbers and tensors of a head, and which landmark each class is [C].

    Raises:
        ValueError: another number of landmarks than of classes.
    """
    if landmark_ids.shape != (head.classes,):
        raise ValueError(
            f"landmark_ids {landmark_ids.shape} for a head of {head.classes} classes; give one each"
        )
    state = head.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    tensors["landmark_ids"] = torch.from_numpy(landmark_ids.astype(np.int64))
    text = json.dumps({"kind": head.kind, **head.config}, sort_keys=True)
    # One key: safetensors writes several in random order, and equal heads shall be equal files.
    save_file(tensors, path, {"head": text})


def load_head(path: Path) -> tuple[Head, NDArray[np.int64]]:
    """Read a head in eval mode and the landmark id of each class [C].

    Raises:
        MissingFileError: no head at path.
        InputError: not a file of save_head, or of a kind that is not known here.
    """
    if not path.is_file():
        raise MissingFileError(f"no classification head at {path}; run `cairn train` first")
    try:
        with safe_open(str(path), "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
        landmark_ids = tensors.pop("landmark_ids").numpy()
        numbers = _read_numbers(metadata, tensors)
        kind = numbers.pop("kind")
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise InputError(f"{path} is a head of kind '{kind}', this version knows {known}")
        head = KINDS[kind](**numbers)
        head.load_state_dict(tensors)
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} is not a classification head ({error}); copy it again, or train again: "
            "cairn train --redo"
        ) from error
    return head.eval(), landmark_ids


def _read_numbers(metadata: dict[str, str], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return the kind and what builds it; the first files knew the cosine head alone."""
    if "head" in metadata:
        numbers: dict[str, Any] = json.loads(metadata["head"])
        return numbers
    classes, dim = tensors["weight"].shape
    return {"kind": "cosine", "dim": dim, "classes": classes, "scale": float(metadata["scale"])}


def rank_classes(head: Head, logits: Tensor, landmark_ids: NDArray[np.int64]) -> HeadScores:
    """Return the MOST_CLASSES likeliest classes of each image, or all if there are fewer.

    Ties go to the class that comes first.

    Args:
        head: that the logits come from.
        logits: [N, C], computed without labels.
        landmark_ids: [C] landmark of each class.

    Raises:
        ValueError: logits of another number of classes, or not finite.
    """
    if logits.ndim != 2 or logits.shape[1] != len(landmark_ids):
        raise ValueError(f"logits {tuple(logits.shape)}, expected [N, {len(landmark_ids)}]")
    logits = logits.detach().float()
    if not logits.isfinite().all():
        raise ValueError(f"logits {tuple(logits.shape)} are not all finite; train the model again")
    best = _first_columns(logits, min(MOST_CLASSES, len(landmark_ids)))
    return HeadScores(
        np.asarray(landmark_ids[best.cpu().numpy()], dtype=np.int64),
        head.score(logits).gather(1, best).cpu().numpy(),
        logits.softmax(dim=1).gather(1, best).cpu().numpy(),
    )


def _first_columns(values: Tensor, count: int) -> Tensor:
    """Return the columns [N, count] of the largest values of [N, C], ties by column.

    topk is free in its choice among ties, and sorting 200,000 columns takes a hundred times longer.
    """
    least = values.topk(count, dim=1).values[:, -1:]
    rows, columns = (values >= least).nonzero(as_tuple=True)  # by row, then column
    found = values[rows, columns]
    order = found.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    starts = torch.searchsorted(rows, torch.arange(len(values), device=rows.device))
    places = starts[:, None] + torch.arange(count, device=rows.device)
    return columns[order][places]
