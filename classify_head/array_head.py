"""A trained classification head on arrays: what TrainedHead says, without torch.

Reads head.safetensors. Margins have no say in it: they are for training alone.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from embed.errors import InputError, MissingFileError
from embed.head_scores import MOST_CLASSES, HeadScores

LEAST_LENGTH = 1e-12  # as in cosines
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ArrayHead:
    """The tensors of a head, its numbers, and the landmark_id of each of its C classes."""

    kind: str
    numbers: dict[str, Any]  # see Head.config
    tensors: dict[str, NDArray[Any]]
    landmark_ids: NDArray[np.int64]  # [C]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what heads.save_head wrote.

        Raises:
            MissingFileError: no head at path.
            InputError: not a file of save_head, or of a kind that is not known here.
        """
        if not path.is_file():
            raise MissingFileError(f"no classification head at {path}; run `cairn train` first")
        try:
            with safe_open(str(path), "np") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                numbers = json.loads(file.metadata()["head"])
            landmark_ids = tensors.pop("landmark_ids")
            head = cls(numbers.pop("kind"), numbers, tensors, landmark_ids)
            head.logits(np.zeros((1, int(numbers["dim"])), dtype=np.float32))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is not a classification head ({error}); copy it again, or train again: "
                "cairn train --redo"
            ) from error
        return head

    def logits(self, features: Floats) -> Floats:
        """Return [B, C] for features [B, dim] of any length."""
        if self.kind == "linear":
            weight, bias = self.tensors["linear.weight"], self.tensors["linear.bias"]
            return np.asarray(features @ weight.T + bias, dtype=np.float32)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        rows = features / np.maximum(lengths, LEAST_LENGTH)
        if self.kind == "hadamard":
            cosines, bias = self._hadamard_cosines(rows), self.tensors["bias"]
            return np.asarray(self.tensors["scale"] * cosines + bias, dtype=np.float32)
        cosines = (rows @ self._directions.T) / self._lengths
        if self.kind == "subcenter":
            cosines = cosines.reshape(len(rows), len(self.landmark_ids), -1).max(axis=2)
        return np.asarray(self.numbers["scale"] * cosines, dtype=np.float32)

    def rank(self, logits: Floats) -> HeadScores:
        """Return the likeliest landmarks of each row of [B, C], as heads.rank_classes does.

        Raises:
            ValueError: logits that are not finite.
        """
        if not np.isfinite(logits).all():
            raise ValueError(f"logits {logits.shape} are not all finite; train the model again")
        count = min(MOST_CLASSES, logits.shape[1])
        best = np.array([_first_columns(row, count) for row in logits]).reshape(-1, count)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        scores = probabilities
        if self.kind not in ("linear", "hadamard"):  # of classes that are directions: the cosine
            scores = logits / np.float32(self.numbers["scale"])
        return HeadScores(
            self.landmark_ids[best],
            np.take_along_axis(scores, best, axis=1),
            np.take_along_axis(probabilities, best, axis=1),
        )

    @cached_property
    def _directions(self) -> Floats:
        """[C, dim], or [C * centres, dim], of any length."""
        names = {"cosine": "weight", "arcface": "loss.W", "cosface": "loss.W"}
        tensor = self.tensors[{**names, "subcenter": "loss.W"}[self.kind]]
        return tensor if self.kind == "cosine" else tensor.T

    @cached_property
    def _lengths(self) -> Floats:
        lengths = np.linalg.norm(self._directions, axis=1)
        return np.asarray(np.maximum(lengths, LEAST_LENGTH))

    def _hadamard_cosines(self, rows: Floats) -> Floats:
        """Return [B, C] by the fast Walsh-Hadamard transform; see hadamard.HadamardHead."""
        dim, classes = int(self.numbers["dim"]), int(self.numbers["classes"])
        order = 1 << (max(dim, classes + 1) - 1).bit_length()
        mixed = np.zeros((len(rows), order), dtype=np.float32)
        mixed[:, self.tensors["columns"]] = rows
        half = 1
        while half < order:
            pairs = mixed.reshape(len(rows), -1, 2, half)
            first, second = pairs[:, :, 0], pairs[:, :, 1]
            mixed = np.stack([first + second, first - second], axis=2).reshape(len(rows), order)
            half *= 2
        return mixed[:, 1 : classes + 1] / np.float32(np.sqrt(dim))


def _first_columns(row: Floats, count: int) -> NDArray[np.int64]:
    """Return the columns of the largest values of a row, ties by column."""
    least = np.partition(row, len(row) - count)[len(row) - count]
    columns = np.flatnonzero(row >= least)
    return columns[np.argsort(-row[columns], kind="stable")][:count]
