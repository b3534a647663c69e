"""Compare two submissions, or two steps of one run: is the GAP better by more than chance?

Reads submission.csv, or predictions.parquet, and the solution. Writes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from classify_head.answers import Answers
from classify_head.comparison import Comparison, compare_answers
from classify_head.gap import gap
from classify_head.submission import load_solution, load_submission, match_answers
from embed.errors import InputError, MissingFileError
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import find_data, read_run

from .evaluate import STEPS, find_submission, load_steps


@dataclass(frozen=True)
class RunComparison:
    """Two sets of answers to the same queries, and how the second differs from the first."""

    a: str  # name of the first: a path or a step
    b: str
    gap_a: float
    gap_b: float
    comparison: Comparison


def compare_runs(a: Path, b: Path, solution: Path | None = None) -> RunComparison:
    """Compare two runs, or submissions.

    Args:
        a: folder of a finished run, or anybody's submission.csv.
        b: another, of the same queries.
        solution: None for that of each run's dataset.

    Raises:
        MissingFileError: there is no such run, submission or solution.
        InputError: a file is damaged, or they differ in their queries or truths.
    """
    return _compare(str(a), _load_answers(a, solution), str(b), _load_answers(b, solution))


def compare_steps(run: Path, a: str, b: str, solution: Path | None = None) -> RunComparison:
    """Compare two of the STEPS of one finished run. Arguments and errors as compare_runs."""
    for name in (a, b):
        if name not in STEPS:
            raise InputError(f"there is no step '{name}'; the steps are {', '.join(STEPS)}")
    find_submission(run)
    steps = load_steps(run, load_solution(solution or _find_own_solution(run)))
    return _compare(a, steps[a], b, steps[b])


def _compare(name_a: str, a: Answers, name_b: str, b: Answers) -> RunComparison:
    try:
        comparison = compare_answers(a, b)
    except InputError as error:
        raise InputError(f"a is {name_a}, b is {name_b}: {error}") from error
    return RunComparison(name_a, name_b, gap(a), gap(b), comparison)


def _load_answers(source: Path, solution: Path | None) -> Answers:
    if source.is_file():
        if solution is None:
            raise InputError(f"{source} is a file: name the --solution to score it with")
        submission = source
    else:
        solution = solution or _find_own_solution(source)
        submission = find_submission(source)
    try:
        return match_answers(*load_submission(submission), load_solution(solution))
    except InputError as error:
        raise InputError(f"{source}, scored with {solution}: {error}") from error


def _find_own_solution(run: Path) -> Path:
    """Return where the solution of the run's dataset is."""
    recorded = read_run(run)
    if recorded is None:
        raise MissingFileError(f"no run in {run}; name folders of finished runs")
    return Dataset(find_data(run, recorded)).require_table("solution")
