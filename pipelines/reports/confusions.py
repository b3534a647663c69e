"""Count which landmarks are taken for which: the confusion matrix of a run's answers.

Answers in; writes confusions.csv and confusion_matrix.png.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK, Answers
from embed.files import writing

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Confusions:
    """How often each landmark got each answer; -1 is no landmark, and no answer.

    Attributes:
        truths: [N] int64, ascending, then by answers; each pair once.
        answers: [N] int64.
        photos: [N] int64, 1 or more.
    """

    truths: Ints
    answers: Ints
    photos: Ints

    @property
    def matrix(self) -> tuple[Ints, Ints]:
        """The labels [L] that occur, ascending, and photos [L, L] by truth, then by answer."""
        labels = np.union1d(self.truths, self.answers)
        counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
        places = np.searchsorted(labels, self.truths), np.searchsorted(labels, self.answers)
        counts[places] = self.photos
        return labels, counts


def count_confusions(answers: Answers) -> Confusions:
    """Count the answers to each landmark.

    A photo of several landmarks counts for the one that was answered, or for the lowest id where
    none of them was.
    """
    pairs = Counter(
        (_pick_truth(truth, answer), answer)
        for truth, answer in zip(answers.truths, answers.labels.tolist(), strict=True)
    )
    rows = np.array([(*pair, pairs[pair]) for pair in sorted(pairs)], dtype=np.int64)
    return Confusions(*rows.reshape(-1, 3).T)


def _pick_truth(truth: frozenset[int], answer: int) -> int:
    return answer if answer in truth else min(truth, default=NO_LANDMARK)


def write_confusions(confusions: Confusions, path: Path) -> Path:
    """Write a row for each pair: landmark_id, answer (both empty for none), photos, most first."""
    columns = {"landmark_id": confusions.truths, "answer": confusions.answers}
    table = pd.DataFrame({**columns, "photos": confusions.photos}, dtype="Int64")
    for name in columns:
        table[name] = table[name].mask(table[name] == NO_LANDMARK)
    with writing(path) as temporary:
        ordered = table.sort_values("photos", ascending=False, kind="stable")
        ordered.to_csv(temporary, index=False, lineterminator="\n")
    return path


def draw_confusions(confusions: Confusions, path: Path) -> Path:
    """Draw the matrix into a PNG, each row as shares of its photos; equal counts, equal bytes.

    "No landmark" and "no answer" are the first row and column, where they occur.
    """
    with writing(path) as temporary:
        _draw(confusions, temporary)
    return path


def _draw(confusions: Confusions, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    _, counts = confusions.matrix
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6, 5.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    drawn = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    right = int(np.trace(counts))
    title = f"{right:,} of {counts.sum():,} answers on the diagonal"
    axes.set(xlabel="answer", ylabel="landmark, in order of ids", title=title)
    axes.set(xticks=[], yticks=[])
    figure.colorbar(drawn, label="share of the landmark's photos")
    figure.savefig(path, dpi=120, metadata={"Software": None})
