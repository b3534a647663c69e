"""Regions: things that fill less than a tenth of a wide photo, found without and with them.

The test photos of a dataset that show something are made small and pasted into photos without a
landmark, three side by side. The database are photos of train, as they are. Recall@10: the share
of queries that have a photo of their landmark among the ten nearest. Regions are cut from the
pixels, each a pass of its own (embed.regions), or from the last map of the whole photo's pass; of
the queries and of the database, or of the queries alone.

python -m tests.benchmarks.bench_regions DATA --weights FILE [--queries 200] [--photos 10] (minutes)
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.backbone import BackboneSpec, LastLayer, build_backbone
from embed.decode import decode_image
from embed.model import DescriptorModel, ModelSpec
from embed.regions import cut_regions, region_boxes, to_pixels
from embed.settings import RegionSettings
from embed.tensors import normalize, to_tensor
from embed.train_settings import TrainSettings
from embed.transforms import resize_image
from embed.whitening import Whitening
from index.regions import ImageIndex
from pipelines.datasets.dataset import Dataset
from pipelines.runs.recipe import load_recipe
from pipelines.stages.fit_search import fit_search

K = 10  # neighbours that are looked at
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
    """N images: the whole, and all regions of the last map and of the pixels."""

    whole: Floats  # [N, 1, dim]
    map: Floats  # [N, R, dim]
    pixels: Floats  # [N, R, dim]
    seconds: NDArray[np.float64]  # [3] an image, of each of these

    def vectors(self, source: str, rows: slice) -> Floats:
        """Return [N, 1 + R, dim] with regions of the map or of the pixels."""
        return np.concatenate([self.whole, getattr(self, source)[:, rows]], axis=1)


@torch.inference_mode()
def describe(model: DescriptorModel, images: Iterator[Pixels]) -> Described:
    """Describe images in all ways."""
    found, seconds = [], np.zeros(3)
    for pixels in images:
        times = [time.perf_counter()]
        last = model.backbone(to_batch(model, [pixels])).map
        whole = pool(model, [last])
        times.append(time.perf_counter())
        boxes = region_boxes(ALL, (pixels.shape[1], pixels.shape[0]))
        places = to_pixels(boxes, (last.shape[3], last.shape[2])).tolist()
        of_map = pool(model, [last[:, :, t:b, left:r] for left, t, r, b in places])
        times.append(time.perf_counter())
        parts = to_batch(model, cut_regions(pixels, ALL))
        found.append((whole, of_map, pool(model, [model.backbone(parts).map])))
        times.append(time.perf_counter())
        seconds += np.diff(times)
    wholes, maps, regions = (np.stack(each) for each in zip(*found, strict=True))
    return Described(wholes, maps, regions, seconds / len(found))


def to_batch(model: DescriptorModel, parts: Sequence[Pixels]) -> Tensor:
    """Return parts of an image as the network sees them."""
    squares = [to_tensor(resize_image(part, model.spec.image_size)) for part in parts]
    batch = normalize(torch.stack(squares), model.spec.backbone)
    return batch.contiguous(memory_format=torch.channels_last)


def pool(model: DescriptorModel, maps: Sequence[Tensor]) -> Floats:
    """Return the descriptors [n, dim] of maps, one behind the other."""
    pooled = torch.cat([model.pool_map(LastLayer(each)) for each in maps])
    return np.asarray(torch.nn.functional.normalize(pooled, dim=1).numpy())


def paste_wide(thing: Pixels, beside: Sequence[Pixels], generator: np.random.Generator) -> Pixels:
    """Return photos side by side, with a thing somewhere that fills a share of SHARES."""
    wide = np.concatenate([_scale(photo, HEIGHT / photo.shape[0]) for photo in beside], axis=1)
    share, area = generator.uniform(*SHARES), wide.shape[0] * wide.shape[1]
    factor = (share * area / (thing.shape[0] * thing.shape[1])) ** 0.5
    small = _scale(thing, min(factor, HEIGHT / thing.shape[0]))
    height, width = small.shape[:2]
    top = int(generator.integers(0, wide.shape[0] - height + 1))
    left = int(generator.integers(0, wide.shape[1] - width + 1))
    wide[top : top + height, left : left + width] = small
    return wide


def _scale(photo: Pixels, factor: float) -> Pixels:
    size = [max(round(side * factor), 1) for side in photo.shape[1::-1]]
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def load_queries(
    dataset: Dataset, count: int, seed: int
) -> tuple[Iterator[Pixels], list[set[int]]]:
    """Return wide photos, made when they are asked for, and the landmarks in each."""
    generator, solution = np.random.default_rng(seed), dataset.solution
    truths = dict(zip(solution.query_ids, solution.truths, strict=True))
    shown = [image_id for image_id, landmarks in truths.items() if landmarks]
    chosen = generator.permutation(shown)[:count].tolist()
    others = dataset.load_split("non_landmark").ids

    def make() -> Iterator[Pixels]:
        for image_id in chosen:
            beside = [read(dataset, other) for other in generator.choice(others, 3, replace=False)]
            yield paste_wide(read(dataset, image_id), beside, generator)

    return make(), [set(truths[image_id]) for image_id in chosen]


def read(dataset: Dataset, image_id: str) -> Pixels:
    """Return the pixels of a photo, large enough for its regions."""
    return decode_image(dataset.locate(image_id), min_side=HEIGHT).pixels


def find(
    database: Floats, labels: NDArray[np.int64], queries: Floats, truths: Sequence[set[int]]
) -> NDArray[np.bool_]:
    """Return which queries have a photo of their landmark among the K nearest."""
    whitening, index = fit_search(database, labels, load_recipe("photos").search)
    if isinstance(whitening, Whitening):
        queries = whitening.apply_all(queries)
    names = [str(row) for row in range(len(queries))]
    found = ImageIndex(index, database.shape[1]).search(names, queries, K)
    pairs = zip(found.rows, truths, strict=True)
    return np.array([bool(truth.intersection(labels[rows].tolist())) for rows, truth in pairs])


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
    wide, truths = load_queries(dataset, queries, seed)
    described = describe(model, wide)
    return "\n".join(_lines(database, labels, described, truths))


def _lines(
    database: Described,
    labels: NDArray[np.int64],
    queries: Described,
    truths: Sequence[set[int]],
) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"{len(labels)} photos of {len(set(labels.tolist()))} landmarks, {len(truths)} queries\n"
    yield "| regions | of | recall@10 | more than without | ms an image | bytes an image |"
    yield "|---|---|---|---|---|---|"
    without = find(database.whole, labels, queries.whole, truths)
    dim, (whole, of_map, of_pixels) = database.whole.shape[2], database.seconds * 1000
    yield f"| none | | {without.mean():.3f} | | {whole:.0f} | {4 * dim} |"
    for source, cost in (("map", of_map), ("pixels", of_pixels)):
        for name, rows in KINDS.items():
            each = rows.stop - rows.start
            asked = queries.vectors(source, rows)
            for of, searched in (
                ("both", database.vectors(source, rows)),
                ("queries", database.whole),
            ):
                found = find(searched, labels, asked, truths)
                low, high = difference_interval(without, found)
                yield (
                    f"| {name} of the {source} | {of} | {found.mean():.3f} | "
                    f"{found.mean() - without.mean():+.3f} ({low:+.3f} to {high:+.3f}) | "
                    f"{whole + cost * each / ALL.count:.0f} | {4 * dim * searched.shape[1]} |"
                )


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
