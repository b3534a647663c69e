"""GAP on the demo city beside baselines that use no training or no retrieval.

Reads a finished run of the demo and its data. All baselines answer the same queries, distractors
included, and are scored by the same code.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from classify_head.gap import gap
from classify_head.label_scores import Choice
from classify_head.submission import load_solution, match_answers
from embed.decode import decode_image
from embed.parallel import run_parallel
from pipelines.answers.open_run import load_split_embeddings
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import open_job
from pipelines.scores.evaluate import evaluate_run


def histograms(dataset: Dataset, ids: tuple[str, ...]) -> NDArray[np.float32]:
    """Return HSV histograms of 8 x 8 x 8 bins [N, 512], square roots, rows of length 1."""

    def describe(image_id: str) -> NDArray[np.float32]:
        pixels = decode_image(dataset.locate(image_id)).pixels
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, [8, 8, 8], [0, 180, 0, 256, 0, 256])
        return np.asarray(np.sqrt(counts.ravel() / counts.sum()), dtype=np.float32)

    return np.stack(run_parallel(describe, ids))


def class_means(
    vectors: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the mean direction of each class: a head for all landmarks without training."""
    classes = np.unique(labels)
    means = np.stack([vectors[labels == label].mean(axis=0) for label in classes])
    return means / np.linalg.norm(means, axis=1, keepdims=True), classes


def nearest_gap(
    queries: tuple[tuple[str, ...], NDArray[np.float32]],
    database: tuple[NDArray[np.float32], NDArray[np.int64]],
    solution_path: Path,
) -> float:
    """Return the GAP of the nearest database row's label with its cosine as confidence."""
    ids, asked = queries
    cosines = asked @ database[0].T
    best = cosines.argmax(axis=1)
    choice = Choice(database[1][best], cosines.max(axis=1).astype(np.float64))
    return gap(match_answers(ids, choice, load_solution(solution_path)))


def run(run_folder: Path) -> str:
    """Return a table of GAPs."""
    job = open_job(None, run_folder, None, None)
    dataset = job.dataset
    solution = dataset.find_table("solution")
    assert solution is not None
    table = dataset.load_split(dataset.database_split)
    test = dataset.load_split("test")
    known = load_split_embeddings(run_folder, dataset.database_split)
    asked = load_split_embeddings(run_folder, "test")
    colour = nearest_gap(
        (test.ids, histograms(dataset, test.ids)),
        (histograms(dataset, table.ids), table.landmark_ids),
        solution,
    )
    means = class_means(known.vectors, known.landmark_ids)
    imprinted = nearest_gap((asked.ids, asked.vectors), means, solution)
    metrics = evaluate_run(run_folder, dataset)
    lines = [
        f"{'GAP with distractors':52s}  all  untrained landmarks",
        f"{'nearest neighbour of colour histograms':52s} {colour:.3f}",
        f"{'class means of the descriptors as a head':52s} {imprinted:.3f}",
    ]
    for name, figures in metrics["steps"].items():
        unseen = f" {metrics['unseen'][name]:.3f}" if metrics["unseen"] else ""
        lines.append(f"{name:52s} {figures['gap']:.3f}{unseen}")
    seconds = metrics["seconds"]
    lines.append(f"seconds by stage: {seconds}, together {sum(seconds.values()):.0f}")
    return "\n".join(lines)
