"""How many inliers photos have that show nothing in common: the level of chance.

Reads two folders of photos, of which none of one shows what one of the other does: python -m
tests.benchmarks.bench_chance OFFICES GROCERIES. What rerank.geometry calls chance is from here.
"""

import sys
from pathlib import Path
from typing import get_args

import numpy as np

from embed.decode import decode_image
from embed.parallel import run_parallel
from pipelines.datasets.images import list_images
from rerank.features import LocalFeatures
from rerank.geometry import CHANCE_INLIERS
from rerank.settings import Model, RerankSettings
from rerank.sift import SiftExtractor
from rerank.verify import verify_candidates

PHOTOS = 100  # of each folder, drawn at random


def run(queries: Path, database: Path) -> str:
    """Return what the best of PHOTOS unrelated photos has, of each of as many queries."""
    asked, known = extract(queries), extract(database)
    lines = [f"{'transform':12} median   95 %   99 %   most   above {CHANCE_INLIERS}"]
    for model in get_args(Model):
        settings = RerankSettings(model=model)

        def find_best(query: LocalFeatures, settings: RerankSettings = settings) -> int:
            return max(found.n_inliers for found in verify_candidates(query, known, settings))

        best = np.array(run_parallel(find_best, asked))
        shares = np.quantile(best, [0.5, 0.95, 0.99], method="inverted_cdf")
        figures = "".join(f"{share:7d}" for share in [*shares, best.max()])
        lines.append(f"{model:12}{figures}   {(best > CHANCE_INLIERS).mean():.0%} of the queries")
    return "\n".join(lines)


def extract(folder: Path) -> list[LocalFeatures]:
    """Return the local features of some photos of a folder, as a run with SIFT has them."""
    paths = list_images([folder])
    drawn = np.random.default_rng(0).permutation(len(paths))[:PHOTOS]
    extractor = SiftExtractor(max_side=512, max_features=600)

    def find(place: int) -> LocalFeatures:
        return extractor.extract(decode_image(paths[place], min_side=extractor.min_side))

    return list(run_parallel(find, drawn.tolist()))


if __name__ == "__main__":
    print(run(Path(sys.argv[1]), Path(sys.argv[2])))
