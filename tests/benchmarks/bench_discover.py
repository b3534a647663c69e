"""Groups of photos without labels, beside HDBSCAN of the same descriptors; the labels judge both.

Takes all photos of a dataset, distractors too, as one heap. A distractor is a thing of its own.
HDBSCAN has each of SIZES as its min_cluster_size, and the size with the best pairwise F1 counts,
which it could not know without labels; the groups have their defaults.

python -m tests.benchmarks.bench_discover DATA --into FOLDER [--weights FILE] [--recipe NAME]
(some minutes for 1,000 photos; what is finished in FOLDER is not done again)
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score, pair_confusion_matrix, v_measure_score

from pipelines.answers.open_run import load_split_embeddings
from pipelines.datasets.dataset import LABELLED, SPLITS, Dataset
from pipelines.runs.job import Job, count_workers
from pipelines.runs.networks import settle_network
from pipelines.runs.recipe import load_recipe
from pipelines.stages.discover import read_pairs, verify_neighbors
from pipelines.stages.order import Order
from rerank.grouping import ALONE, GroupingSettings, Pairs, group_photos

SIZES = (2, 3, 5, 8, 12, 20)  # min_cluster_size of HDBSCAN

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """How good a grouping is."""

    name: str
    groups: int
    largest: int
    purity: float  # photos of the thing that most of their group shows, of all in groups
    grouped: float  # of the photos whose thing another one shows
    apart: float  # photos in no group, of those whose thing no other shows
    f1: float  # of pairs of photos in one group
    ari: float
    v: float  # V-measure

    def format(self) -> str:
        """Return a line of a Markdown table."""
        shares = (self.purity, self.grouped, self.apart, self.f1, self.ari, self.v)
        cells = [self.name, str(self.groups), str(self.largest), *(f"{x:.3f}" for x in shares)]
        return f"| {' | '.join(cells)} |"


HEADER = """\
| | groups | largest | purity | grouped | left apart | pairwise F1 | ARI | V-measure |
|---|---|---|---|---|---|---|---|---|"""


def measure(name: str, group: Ints, truth: Ints) -> Row:
    """Judge groups [N], -1 for none, by what the photos show [N]."""
    alone = group == ALONE
    filled = np.where(alone, group.max(initial=0) + 1 + np.arange(len(group)), group)
    (_, false), (missed, right) = pair_confusion_matrix(truth, filled)
    counts = np.unique(truth, return_inverse=True, return_counts=True)
    repeated = counts[2][counts[1]] > 1
    inside = pd.Series(truth[~alone]).groupby(group[~alone])
    most = inside.agg(lambda each: each.value_counts().iloc[0]).sum() if (~alone).any() else 0
    return Row(
        name,
        inside.ngroups,
        int(inside.size().max()) if inside.ngroups else 0,
        float(most / max((~alone).sum(), 1)),
        float((~alone)[repeated].mean()),
        float(alone[~repeated].mean()) if (~repeated).any() else 1.0,
        float(2 * right / max(2 * right + false + missed, 1)),
        float(adjusted_rand_score(truth, filled)),
        float(v_measure_score(truth, filled)),
    )


def connect(count: int, pairs: Pairs) -> Ints:
    """Return the connected components of pairs, -1 for a photo that is in none."""
    ones = np.ones(len(pairs.first), dtype=bool)
    graph = coo_array((ones, (pairs.first, pairs.second)), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    return np.where(np.bincount(label)[label] > 1, label, ALONE).astype(np.int64)


def list_rows(
    vectors: NDArray[np.float32], originals: Ints, pairs: Pairs, truth: Ints
) -> list[Row]:
    """Return the groups as they are by default, and what is compared with them."""
    settings = GroupingSettings()
    found = group_photos(originals, pairs, settings).group
    chained = connect(len(truth), pairs.take(pairs.inliers >= settings.min_inliers))
    rows = [measure("groups", found, truth), measure("connected components", chained, truth)]
    clustered = []
    for size in SIZES:
        label = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(vectors.astype(np.float64))
        name = f"HDBSCAN, its best min_cluster_size {size}"
        clustered.append(measure(name, label.astype(np.int64), truth))
    return [*rows, max(clustered, key=lambda row: row.f1)]


def read_truth(dataset: Dataset, ids: tuple[str, ...]) -> Ints:
    """Return what each photo shows: its landmark, or a number of its own below 0."""
    shown: dict[str, int] = {}
    for name in LABELLED:
        if dataset.find_table(name):
            table = dataset.load_split(name)
            shown |= dict(zip(table.ids, table.landmark_ids.tolist(), strict=True))
    if dataset.find_table("solution"):
        solution = dataset.solution
        queries = zip(solution.query_ids, solution.truths, strict=True)
        shown |= {image_id: min(labels) for image_id, labels in queries if labels}
    return np.array([shown.get(image_id, -1 - row) for row, image_id in enumerate(ids)])


def run(data: Path, into: Path, weights: Path | None, recipe: str) -> list[Row]:
    """Group the photos of a dataset, and judge the groups."""
    dataset = Dataset(data)
    names = [name for name in SPLITS if dataset.find_table(name)]
    ids = sorted(set().union(*(dataset.load_split(name).ids for name in names)))
    heap = into / "heap"
    heap.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"id": ids, "landmark_id": 0}).to_csv(heap / "train.csv", index=False)
    if not (heap / "images").exists():
        (heap / "images").symlink_to((data / "images").resolve())
    job = Job(heap, into / "run", load_recipe(recipe), recipe, weights, count_workers())
    job = settle_network(job, ())
    order = Order(job)
    verify_neighbors(job, order.embeddings("train"), order.features("train"))
    images = load_split_embeddings(job.run, "train")
    return list_rows(images.vectors, *read_pairs(job.run, images), read_truth(dataset, images.ids))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", default="untrained")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    print(HEADER)
    for row in run(given.data, given.into, given.weights, given.recipe):
        print(row.format())
