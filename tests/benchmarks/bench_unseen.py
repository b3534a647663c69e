"""Landmarks that were not trained on: retrieval beside a head trained on the same few photos.

Half of a dataset's landmarks are trained on, the others are known by ten photos each: the database
of retrieval, which trains nothing on them, and all that the head of the same model is trained anew
on. Each recipe is a whole run; the reports' recipes at their small scale. GAP is with distractors.
The landmarks are cut twice: drawn at random, where look-alikes stand on both sides, and by label.

python -m tests.benchmarks.bench_unseen DATA --into FOLDER [--weights FILE] [--recipes NAME ...]
(hours; what is finished in FOLDER is not done again)
"""

import argparse
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import Job, count_workers
from pipelines.runs.recipe import Scale, load_recipe
from pipelines.scores.evaluate import evaluate_files, evaluate_run
from pipelines.stages.order import submit
from pipelines.stages.prepared_data import prepare_data
from tests.benchmarks.landmark_split import Cut, split_landmarks
from tests.benchmarks.refit import EFFORT, Effort, answer_refitted

SCALES: dict[str, Scale] = {  # of a recipe that is not here: full
    "photos": "full",
    "torino": "small",
    "balanced-ensemble": "small",
    "facenet-hadamard": "small",
    "se-attention": "small",
    "xception-bilinear": "small",
}


@dataclass(frozen=True)
class Row:
    """What a recipe makes of landmarks that it was not trained on."""

    cut: Cut
    recipe: str
    gap: float  # of the recipe's answers; those of a head alone cannot name these landmarks
    gap_knn: float  # of its neighbours' votes
    gap_refitted: float  # of its head, trained anew on the photos of the database
    top1_refitted: float
    train_seconds: float  # of all its models, without that of the head anew

    def format(self) -> str:
        """Return a line of a Markdown table."""
        shares = (self.gap, self.gap_knn, self.gap_refitted, self.top1_refitted)
        cells = [
            self.cut,
            self.recipe,
            *(f"{share:.3f}" for share in shares),
            f"{self.train_seconds:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


HEADER = """\
| cut | recipe | GAP | GAP of k-NN | GAP of the head anew | its top-1 | seconds of training |
|---|---|---|---|---|---|---|"""


def open_run(
    name: str, data: Path, into: Path, weights: Path | None, changes: Sequence[str], workers: int
) -> Job:
    """Return the job of a recipe, whose data are prepared."""
    recipe = load_recipe(name, SCALES.get(name, "full"), changes)
    job = prepare_data(Job(data, into / Path(name).stem, recipe, name, weights, workers))
    job.dataset.check()
    return job


def measure(job: Job, cut: Cut, effort: Effort = EFFORT) -> Row:
    """Do what is not done of a run, train its head anew, and score both."""
    with job.locked():
        submit(job)
        known = job.dataset.load_split(job.dataset.database_split)
        refitted = answer_refitted(job, known, job.dataset.load_split("test"), effort)
        metrics = evaluate_run(job.run, job.dataset)
    anew = evaluate_files(refitted, job.dataset.require_table("solution"))
    seconds = metrics["seconds"]
    trained = [seconds[name] for name in seconds if name.split("/")[-1] == "model"]
    return Row(
        cut,
        job.recipe_name,
        metrics["steps"]["final"]["gap"],
        metrics["steps"]["knn"]["gap"],
        anew["gap"],
        anew["top1"],
        sum(trained),
    )


def do_recipe(
    name: str, cut: Cut, data: Path, into: Path, weights: Path | None, changes: Sequence[str]
) -> Row:
    """Measure a recipe in a process of its own, which logs what it does."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return measure(open_run(name, data, into, weights, changes, count_workers()), cut)


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="dataset folder with test.csv and solution.csv")
    parser.add_argument("--into", type=Path, required=True, help="folder of the split and the runs")
    parser.add_argument("--weights", type=Path, help="local weights of the backbone")
    parser.add_argument("--recipes", nargs="+", default=list(SCALES), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument("--cuts", nargs="+", default=get_args(Cut), choices=get_args(Cut))
    parser.add_argument("--photos", type=int, default=10, help="of a landmark in the database")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    return parser.parse_args()


def main() -> None:
    """Measure recipe after recipe; print a line for each as soon as it is done."""
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    source = Dataset(args.data)
    print(HEADER, flush=True)
    for cut in args.cuts:
        into = args.into / cut
        data = split_landmarks(source, into / "data", photos=args.photos, seed=args.seed, cut=cut)
        for name in args.recipes:
            # A new process each: memory and random state are those of a run alone.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                task = (name, cut, data, into, args.weights, args.changes)
                print(pool.submit(do_recipe, *task).result().format(), flush=True)


if __name__ == "__main__":
    main()
