"""The promise: is as much right as a run promised, with distractors of either kind?

Some landmarks are taken wholly out of a dataset, so that their test photos are distractors, too:
photos of landmarks that the database does not have, beside the photos of other things that the
dataset's own distractors show. Precision is promised and measured at the share of distractors that
the test photos have of one kind.

python -m tests.benchmarks.bench_promise DATA --into FOLDER [--weights FILE] [--recipe NAME]
(minutes with the recipe `untrained`; what is finished in FOLDER is not done again)
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import binomtest

from classify_head.answers import NO_LANDMARK, Answers
from classify_head.gap import gap
from classify_head.promise import Promise
from classify_head.reliability import expected_calibration_error
from pipelines.answers.decision import load_promises
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import Job, count_workers
from pipelines.runs.recipe import load_recipe
from pipelines.scores.evaluate import evaluate_run, load_steps
from pipelines.stages.order import submit
from pipelines.stages.prepared_data import prepare_data
from tests.benchmarks.landmark_split import hold_out_landmarks

KINDS = {"pool": "other things", "removed": "landmarks held out"}
HEADER = """\
| distractors | photos | promised | measured | 95 % | inside | calibration error | GAP |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """What was promised, and what came of it, with the distractors of one kind."""

    kind: str
    distractors: int
    promised: float
    right: int  # answers
    answered: int
    calibration_error: float
    gap: float

    def format(self) -> str:
        """Return a line of a Markdown table; Wilson's interval."""
        interval = binomtest(self.right, self.answered).proportion_ci(0.95, method="wilson")
        inside = interval.low <= self.promised <= interval.high
        cells = [
            *(KINDS[self.kind], str(self.distractors), f"{self.promised:.3f}"),
            f"{self.right / self.answered:.3f} ({self.answered})",
            f"{interval.low:.3f} to {interval.high:.3f}",
            "yes" if inside else "above" if self.promised < interval.low else "BELOW",
            *(f"{self.calibration_error:.3f}", f"{self.gap:.3f}"),
        ]
        return f"| {' | '.join(cells)} |"


def open_run(args: argparse.Namespace) -> Job:
    """Return the job on the dataset without some of its landmarks, whose data are prepared."""
    data = hold_out_landmarks(Dataset(args.data), args.into / "data", seed=args.seed)
    recipe = load_recipe(args.recipe, "full", args.changes)
    run = args.into / Path(args.recipe).stem
    job = prepare_data(Job(data, run, recipe, args.recipe, args.weights, count_workers()))
    job.dataset.check()
    return job


def name_kinds(answers: Answers, source: Dataset) -> NDArray[np.str_]:
    """Return [Q] what each test photo is: of a landmark, or a distractor of which kind."""
    solution = source.solution
    truths = dict(zip(solution.query_ids, solution.truths, strict=True))
    kinds = [
        "landmark" if truth else "removed" if truths[query_id] else "pool"
        for query_id, truth in zip(answers.query_ids, answers.truths, strict=True)
    ]
    return np.array(kinds)


def measure(
    answers: Answers,
    given: NDArray[np.bool_],
    kinds: NDArray[np.str_],
    kind: str,
    promise: Promise | None,
) -> Row:
    """Compare what was promised with the test photos of landmarks and one kind of distractors."""
    rows = np.flatnonzero((kinds == "landmark") | (kinds == kind))
    correct, few = answers.correct[rows], given[rows]
    distractors = int((kinds == kind).sum())
    ranked = rows[answers.labels[rows] != NO_LANDMARK]
    return Row(
        *(kind, distractors, promise.precision(distractors / len(rows)) if promise else np.nan),
        *(int((correct & few).sum()), int(few.sum())),
        expected_calibration_error(answers.correct[ranked], answers.confidences[ranked]),
        gap(answers.take(rows)),
    )


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="dataset folder with train, test and solution")
    parser.add_argument("--into", type=Path, required=True, help="folder of the split and the run")
    parser.add_argument("--weights", type=Path, help="local weights of the backbone")
    parser.add_argument("--recipe", default="untrained", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="of the landmarks held out")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    return parser.parse_args()


def main() -> None:
    """Make the run, and print a line for each kind of distractors."""
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    job = open_run(args)
    with job.locked():
        submit(job)
        metrics = evaluate_run(job.run, job.dataset)
    answers = load_steps(job.run, job.dataset.solution)["final"]
    table = pq.read_table(job.run / "predictions.parquet", columns=["query_id", "landmark_id"])
    shown = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    given = np.array([shown[query_id] is not None for query_id in answers.query_ids])
    kinds, promises = name_kinds(answers, Dataset(args.data)), load_promises(job.run)
    print(
        f"threshold {metrics['operating_point']['threshold']:.4f}, decision "
        f"{metrics['seconds']['decision']:.1f} s"
    )
    print(HEADER)
    for kind in KINDS:
        if (kinds == kind).any():
            print(measure(answers, given, kinds, kind, promises.get(kind)).format())


if __name__ == "__main__":
    main()
