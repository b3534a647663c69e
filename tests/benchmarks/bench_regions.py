"""Regions: things that fill less than a tenth of a wide photo, found without and with them.

The test photos of a dataset that show something are made small and pasted into test photos that
show nothing, three side by side. The database are photos of train, as they are; the pool, photos of
non_landmark, has none of the others. Recall@10: the share of queries that have a photo of their
landmark among the ten nearest. Regions are of the queries and of the database, or of the queries
alone. No region can do better than the thing itself, cut out; chance is ten photos drawn.

python -m tests.benchmarks.bench_regions DATA --weights FILE [--queries 200] [--photos 10] (minutes)
"""

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from embed.backbone import BackboneSpec, build_backbone
from embed.decode import decode_image
from embed.model import DescriptorModel, ModelSpec
from embed.regions import cut_regions
from embed.settings import RegionSettings
from embed.torch_engine import TorchEngine
from embed.train_settings import TrainSettings
from embed.transforms import resize_image
from embed.whitening import Whitening
from index.images import ImageIndex
from pipelines.datasets.dataset import Dataset
from pipelines.runs.recipe import load_recipe
from pipelines.stages.fit_search import fit_search

K = 10  # neighbours that are looked at
POOL = 80  # photos of it that are described
HEIGHT = 560  # pixels, of a wide photo
SHARES = (0.04, 0.1)  # of its area that the thing has, least and most
ALL = RegionSettings(grids=(2, 3, 4))  # R = 29
KINDS = {
    "2 x 2": slice(0, 4),
    "3 x 3": slice(4, 13),
    "R-MAC, 3 levels": slice(0, 13),
    "4 x 4": slice(13, 29),
}

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Described:
    """N images: the whole and all regions."""

    whole: Floats  # [N, 1, dim]
    regions: Floats  # [N, R, dim]
    seconds: NDArray[np.float64]  # [2] an image, of each of these

    def vectors(self, rows: slice) -> Floats:
        """Return [N, 1 + r, dim] with some of the regions."""
        return np.concatenate([self.whole, self.regions[:, rows]], axis=1)


def describe(model: DescriptorModel, images: Iterable[Pixels]) -> Described:
    """Describe images, and their regions."""
    found, seconds = [], np.zeros(2)
    for pixels in images:
        times = [time.perf_counter()]
        whole = describe_parts(model, [pixels])
        times.append(time.perf_counter())
        found.append((whole, describe_parts(model, cut_regions(pixels, ALL))))
        times.append(time.perf_counter())
        seconds += np.diff(times)
    wholes, regions = (np.stack(each) for each in zip(*found, strict=True))
    return Described(wholes, regions, seconds / len(found))


@torch.inference_mode()
def describe_parts(model: DescriptorModel, parts: Sequence[Pixels]) -> Floats:
    """Return the descriptors [n, dim] of parts of images, each as an image of its own."""
    squares = [resize_image(part, model.spec.image_size).transpose(2, 0, 1) for part in parts]
    return TorchEngine(model).describe(np.stack(squares))[0]


def paste_wide(
    thing: Pixels, beside: Sequence[Pixels], generator: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Return photos side by side, with a thing in them that fills a share of SHARES; the thing."""
    wide = np.concatenate([_scale(photo, HEIGHT / photo.shape[0]) for photo in beside], axis=1)
    share, area = generator.uniform(*SHARES), wide.shape[0] * wide.shape[1]
    factor = (share * area / (thing.shape[0] * thing.shape[1])) ** 0.5
    small = _scale(thing, min(factor, HEIGHT / thing.shape[0]))
    height, width = small.shape[:2]
    top = int(generator.integers(0, wide.shape[0] - height + 1))
    left = int(generator.integers(0, wide.shape[1] - width + 1))
    wide[top : top + height, left : left + width] = small
    return wide, small


def _scale(photo: Pixels, factor: float) -> Pixels:
    size = [max(round(side * factor), 1) for side in photo.shape[1::-1]]
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def load_queries(
    dataset: Dataset, count: int, seed: int
) -> tuple[Iterator[tuple[Pixels, Pixels]], list[set[int]]]:
    """Return wide photos with what is pasted, made when asked for, and the landmarks in each."""
    generator, solution = np.random.default_rng(seed), dataset.solution
    truths = dict(zip(solution.query_ids, solution.truths, strict=True))
    shown = [image_id for image_id, landmarks in truths.items() if landmarks]
    others = [image_id for image_id, landmarks in truths.items() if not landmarks]
    chosen = generator.permutation(shown)[:count].tolist()

    def make() -> Iterator[tuple[Pixels, Pixels]]:
        for image_id in chosen:
            beside = [read(dataset, other) for other in generator.choice(others, 3, replace=False)]
            yield paste_wide(read(dataset, image_id), beside, generator)

    return make(), [set(truths[image_id]) for image_id in chosen]


def read(dataset: Dataset, image_id: str) -> Pixels:
    """Return the pixels of a photo, large enough for its regions."""
    return decode_image(dataset.locate(image_id), min_side=HEIGHT).pixels


def find(
    database: Floats,
    labels: NDArray[np.int64],
    queries: Floats,
    truths: Sequence[set[int]],
    pool: Floats,
) -> NDArray[np.bool_]:
    """Return which queries have a photo of their landmark among the K nearest.

    With regions of the queries alone, a photo of the database has its one vector so often as they.
    """
    of_queries = database.shape[1] < queries.shape[1]
    fitted = np.repeat(database, queries.shape[1], axis=1) if of_queries else database
    whitening, index = fit_search(fitted, labels, load_recipe("photos").search, pool=pool)
    if isinstance(whitening, Whitening):
        queries = whitening.apply_all(queries)
    found = ImageIndex(index, fitted.shape[1]).search(queries, K)
    pairs = zip(found.rows, truths, strict=True)
    return np.array([bool(truth.intersection(labels[rows].tolist())) for rows, truth in pairs])


def chance(labels: NDArray[np.int64], truths: Sequence[set[int]]) -> float:
    """Return the recall@K of photos drawn at random."""
    wrong = [int((~np.isin(labels, list(truth))).sum()) for truth in truths]
    return 1 - float(np.mean([comb(each, K) / comb(len(labels), K) for each in wrong]))


def difference_interval(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same queries."""
    gain = second.astype(float) - first
    drawn = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
    low, high = np.quantile(gain[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def run(data: Path, weights: Path, queries: int, photos: int, seed: int = 0) -> str:
    """Describe everything once, search it in all ways, and return a table."""
    dataset = Dataset(data)
    backbone, spec = build_backbone(BackboneSpec(TrainSettings().backbone), weights=weights)
    model = DescriptorModel(ModelSpec(spec, TrainSettings().image_size, dim=0), backbone).eval()
    table = dataset.load_split("train")
    order = np.random.default_rng(seed).permutation(len(table.ids))
    ranks: dict[int, int] = {}
    kept = []
    for row in order.tolist():
        label = int(table.landmark_ids[row])
        ranks[label] = ranks.get(label, 0) + 1
        kept += [row] if ranks[label] <= photos else []
    labels = table.landmark_ids[kept]
    database = describe(model, (read(dataset, table.ids[row]) for row in kept))
    others = np.random.default_rng(seed).permutation(dataset.load_split("non_landmark").ids)[:POOL]
    pool = describe(model, (read(dataset, image_id) for image_id in others))
    pairs, truths = load_queries(dataset, queries, seed)
    things: list[Floats] = []

    def take_things() -> Iterator[Pixels]:
        for wide, thing in pairs:
            things.append(describe_parts(model, [thing]))
            yield wide

    described = describe(model, take_things())
    return "\n".join(list_lines(database, labels, described, truths, pool, np.stack(things)))


def list_lines(
    database: Described,
    labels: NDArray[np.int64],
    queries: Described,
    truths: Sequence[set[int]],
    pool: Described,
    things: Floats,
) -> Iterator[str]:
    """Yield the lines of a Markdown table; things: [Q, 1, dim]."""
    yield f"{len(labels)} photos of {len(set(labels.tolist()))} landmarks, {len(truths)} queries\n"
    yield "| regions | of | recall@10 | more than without | ms an image | bytes an image |"
    yield "|---|---|---|---|---|---|"
    without = find(database.whole, labels, queries.whole, truths, pool.whole)
    dim, (whole, parts) = database.whole.shape[2], database.seconds * 1000
    yield f"| ten photos drawn | | {chance(labels, truths):.3f} | | | |"
    yield f"| none | | {without.mean():.3f} | | {whole:.0f} | {4 * dim} |"
    for name, rows in KINDS.items():
        asked, beside = queries.vectors(rows), pool.vectors(rows)
        for of, searched in (("both", database.vectors(rows)), ("queries", database.whole)):
            found = find(searched, labels, asked, truths, beside)
            low, high = difference_interval(without, found)
            yield (
                f"| {name} | {of} | {found.mean():.3f} | "
                f"{found.mean() - without.mean():+.3f} ({low:+.3f} to {high:+.3f}) | "
                f"{whole + parts * (rows.stop - rows.start) / ALL.count:.0f} | "
                f"{4 * dim * searched.shape[1]} |"
            )
    cut_out = find(database.whole, labels, things, truths, pool.whole)
    yield f"| the thing, cut out | | {cut_out.mean():.3f} | | | |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--photos", type=int, default=10, help="of a landmark in the database")
    chosen = parser.parse_args()
    print(run(chosen.data, chosen.weights, chosen.queries, chosen.photos))


if __name__ == "__main__":
    main()
