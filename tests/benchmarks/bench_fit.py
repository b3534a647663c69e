"""Photos of their own aspect ratio against squeezed ones: GAP of pretrained features.

Nothing is trained. The photos of each dataset are described by each network, squeezed and fitted
(`embed.square`), at several scales; the descriptors are whitened on the database, and each test
photo, distractors included, has the label of its nearest neighbour. Prints a line a dataset,
network and scale: both GAPs, and their paired difference with its interval.

python -m tests.benchmarks.bench_fit DATA... --weights FILE... (minutes a dataset and network)
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from classify_head.answers import Answers
from classify_head.comparison import Comparison, compare_answers
from classify_head.gap import gap
from classify_head.label_scores import Choice
from classify_head.submission import load_solution, match_answers
from embed.backbone import BackboneSpec, build_backbone
from embed.extract import extract_all
from embed.model import DescriptorModel, ModelSpec
from embed.torch_engine import TorchEngine, pick_device
from embed.transforms import Square
from embed.views import Views
from index.settings import SearchSettings
from pipelines.datasets.dataset import Dataset, ImageTable
from pipelines.stages.fit_search import fit_search

HEADER = """\
| data | network | scale | GAP, squeezed | GAP, fitted | fitted - squeezed (95 %, paired) | \
squeezed - squeezed at the first scale | ms a photo, squeezed | fitted |
|---|---|---|---|---|---|---|---|---|"""
MAX_PIXELS = 50_000_000


@dataclass(frozen=True, eq=False)
class Described:
    """The photos of a table that could be read."""

    rows: NDArray[np.int64]  # [N] of the table
    vectors: NDArray[np.float32]  # [N, dim]


@dataclass(frozen=True, eq=False)
class Answered:
    """What the neighbours answer, and the time that a photo took."""

    answers: Answers
    seconds: float


def describe_table(
    model: DescriptorModel, dataset: Dataset, table: ImageTable, views: Views, batch_size: int
) -> Described:
    """Describe the photos of a table."""
    found = extract_all(
        TorchEngine(model),
        dataset.images.locate_all(table.ids),
        batch_size=batch_size,
        max_pixels=MAX_PIXELS,
        workers=0,
        views=views,
    )
    return Described(found.positions, found.vectors)


def answer(
    model: DescriptorModel,
    dataset: Dataset,
    views: Views,
    settings: SearchSettings,
    batch_size: int,
) -> Answered:
    """Answer the test photos by their nearest neighbours; one that cannot be read, by none."""
    database, test = dataset.load_split(dataset.database_split), dataset.load_split("test")
    started = time.perf_counter()
    known, asked = (
        describe_table(model, dataset, table, views, batch_size) for table in (database, test)
    )
    seconds = (time.perf_counter() - started) / (len(database.ids) + len(test.ids))
    labels = database.landmark_ids[known.rows]
    whitening, index = fit_search(known.vectors, labels, settings)
    queries = asked.vectors if whitening is None else whitening.apply(asked.vectors)
    nearest = index.search(queries, 1)
    found, confidences = np.full(len(test.ids), -1), np.zeros(len(test.ids))
    found[asked.rows] = labels[nearest.rows[:, 0]]
    confidences[asked.rows] = nearest.scores[:, 0]
    solution = load_solution(dataset.require_table("solution"))
    return Answered(match_answers(test.ids, Choice(found, confidences), solution), seconds)


def load_pretrained(weights: Path, image_size: int) -> DescriptorModel:
    """Return a network as it was pretrained, its last map pooled by GeM."""
    backbone, spec = build_backbone(BackboneSpec("resnet50"), weights=weights)
    return DescriptorModel(ModelSpec(spec, image_size, 0), backbone).eval().to(pick_device())


def format_difference(paired: Comparison) -> str:
    """Return a difference and its interval."""
    return f"{paired.difference:+.4f} ({paired.low:+.4f} to {paired.high:+.4f})"


def measure(data: Path, weights: Path, args: argparse.Namespace) -> None:
    """Print the lines of a dataset and a network."""
    model, dataset = load_pretrained(weights, args.image_size), Dataset(data)
    settings = SearchSettings(whiten=args.whiten)
    first: Answers | None = None
    for scale in args.scales:
        squares: tuple[Square, ...] = ("squeeze", "fit")
        squeezed, fitted = (
            answer(model, dataset, Views((scale,), square=square), settings, args.batch_size)
            for square in squares
        )
        first = first or squeezed.answers
        cells = [
            data.name,
            model.spec.backbone.architecture,
            f"{scale:g}",
            f"{gap(squeezed.answers):.4f}",
            f"{gap(fitted.answers):.4f}",
            format_difference(compare_answers(squeezed.answers, fitted.answers)),
            format_difference(compare_answers(first, squeezed.answers)),
            *(f"{1000 * found.seconds:.1f}" for found in (squeezed, fitted)),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="+", help="dataset folder with solution.csv")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="of networks")
    parser.add_argument("--image-size", type=int, default=224, help="pixels, at scale 1")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.4142, 2.0])
    parser.add_argument("--batch-size", type=int, default=64)
    whitenings = get_args(SearchSettings.model_fields["whiten"].annotation)
    parser.add_argument("--whiten", choices=whitenings, default="within-class")
    return parser.parse_args()


def main() -> None:
    """Measure each network on each dataset; print a line as soon as it is done."""
    args = parse_arguments()
    print(HEADER, flush=True)
    for data in args.data:
        for weights in args.weights:
            measure(data, weights, args)


if __name__ == "__main__":
    main()
