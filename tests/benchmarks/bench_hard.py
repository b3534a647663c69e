"""What re-ranking adds, or costs, where its evidence is weak: GAP with and without it.

Takes a finished run on real photos and makes harder ones of its dataset with the same model: small
photos, photos without detail, one photo a landmark, and features that were never trained. Prints
the GAP of the nearest neighbours, of the final answers, and their paired difference.

python -m tests.benchmarks.bench_hard RUN [CASE...] (minutes a case)
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.answers import Answers
from classify_head.comparison import compare_answers
from classify_head.gap import gap
from classify_head.label_scores import Choice
from classify_head.submission import load_solution, match_answers
from embed.decode import ImageError, decode_image
from embed.parallel import run_parallel
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import Job, open_job
from pipelines.stages.order import submit

Pixels = NDArray[np.uint8]


def shrink(side: int) -> Callable[[Pixels], Pixels]:
    """Return a function that makes the longer side so many pixels."""

    def change(pixels: Pixels) -> Pixels:
        factor = side / max(pixels.shape[:2])
        size = [max(1, round(length * factor)) for length in pixels.shape[1::-1]]
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    return change


def smooth(pixels: Pixels) -> Pixels:
    """Leave no detail that a local feature could hold on to: 24 pixels, enlarged again."""
    tiny = shrink(24)(pixels)
    return np.asarray(cv2.resize(tiny, (224, 224), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def change_photos(source: Dataset, target: Path, change: Callable[[Pixels], Pixels]) -> None:
    """Write the dataset with every photo changed."""
    (target / "images").mkdir(parents=True)
    for table in source.folder.glob("*.csv"):
        shutil.copy(table, target)

    def convert(image_id: str) -> None:
        try:
            pixels = change(decode_image(source.locate(image_id)).pixels)
        except ImageError:
            return
        cv2.imwrite(str(target / "images" / f"{image_id}.jpg"), pixels[:, :, ::-1])

    names = [name for name in ("train", "index", "test", "non_landmark") if source.find_table(name)]
    ids = {image_id for name in names for image_id in source.load_split(name).ids}
    run_parallel(convert, sorted(ids))


def one_photo_each(source: Dataset, target: Path) -> None:
    """Write the dataset with a database of the first photo of each landmark."""
    target.mkdir(parents=True)
    for table in source.folder.glob("*.csv"):
        shutil.copy(table, target)
    (target / "images").symlink_to((source.folder / "images").resolve())
    known = source.load_split(source.database_split)
    first = pd.DataFrame({"id": known.ids, "landmark_id": known.landmark_ids})
    first.drop_duplicates("landmark_id").to_csv(target / "index.csv", index=False)


def same_data(source: Dataset, target: Path) -> None:
    """Write the dataset as it is."""
    shutil.copytree(source.folder, target, symlinks=True)


CASES: dict[str, Callable[[Dataset, Path], None]] = {
    "144 pixels": lambda source, target: change_photos(source, target, shrink(144)),
    "96 pixels": lambda source, target: change_photos(source, target, shrink(96)),
    "no detail": lambda source, target: change_photos(source, target, smooth),
    "one photo each": one_photo_each,
    "never trained": same_data,
}


def make_job(job: Job, case: str, folder: Path) -> Job:
    """Return the job of a case, with the run's model unless the case is to have none."""
    CASES[case](job.dataset, folder / "data")
    run, recipe = folder / "run", job.recipe
    if case == "never trained":
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 0})})
    else:
        shutil.copytree(job.run / "model", run / "model")
    return replace(job, data=folder / "data", run=run, recipe=recipe)


def answers_of(run: Path, dataset: Dataset, step: str) -> Answers:
    """Return what a step of the run answers."""
    solution = dataset.find_table("solution")
    assert solution is not None
    table = pq.read_table(run / "predictions.parquet")
    choice = Choice(table[f"{step}_label"].to_numpy(), table[f"{step}_confidence"].to_numpy())
    return match_answers(table["query_id"].to_pylist(), choice, load_solution(solution))


def measure(job: Job, case: str) -> str:
    """Return a line of the table."""
    with tempfile.TemporaryDirectory() as name:
        hard = make_job(job, case, Path(name))
        submit(hard)
        before, after = (answers_of(hard.run, hard.dataset, step) for step in ("knn", "final"))
    paired = compare_answers(before, after)
    return (
        f"{case:16} {gap(before):.4f} {gap(after):.4f} {paired.difference:+.4f} "
        f"({paired.low:+.4f} to {paired.high:+.4f})"
    )


def main() -> None:
    """Measure the cases that are named, or all."""
    job = open_job(None, Path(sys.argv[1]), None, None, workers=1)
    print("case             k-NN   final  difference (95 %, paired)")
    for case in sys.argv[2:] or CASES:
        print(measure(job, case), flush=True)


if __name__ == "__main__":
    main()
