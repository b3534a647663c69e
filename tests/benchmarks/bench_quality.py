"""How much better the default is than the script that people write, on one dataset.

The script (frozen_script.py) alone and with SIFT, then a recipe, trained once a seed as `cairn run`
does it. GAP counts distractors; gains are paired, with the 95 % interval of a bootstrap over the
queries. Runs that are there are not made again.

python -m tests.benchmarks.bench_quality DATA --into FOLDER --weights FILE [--recipe NAME]
    [--seeds N] [--set KEY=VALUE]...
"""

import argparse
import statistics
from pathlib import Path

from classify_head.answers import Answers
from classify_head.comparison import compare_answers
from classify_head.gap import gap
from classify_head.submission import match_answers
from pipelines.datasets.dataset import Dataset
from tests.benchmarks.bench_reports import make_run, read_answers, read_figures
from tests.benchmarks.frozen_script import answer_by_script


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--recipe", default="photos")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="changes of the recipe")
    arguments = parser.parse_args()
    solution = Dataset(arguments.data).solution
    scripts = {
        name: match_answers(
            *answer_by_script(arguments.data, arguments.weights, sift=sift), solution
        )
        for name, sift in (("frozen features", False), ("frozen features and SIFT", True))
    }
    print("| | GAP | neighbours alone | more than the script with SIFT (95 %) | all s |")
    print("|---|---|---|---|---|")
    for name, answers in scripts.items():
        print(f"| {name} | {gap(answers):.3f} | | | |", flush=True)
    baseline, gaps = scripts["frozen features and SIFT"], []
    for seed in range(arguments.seeds):
        folder = arguments.into / f"{arguments.recipe}-{seed}"
        make_run(
            arguments, folder, arguments.recipe, "full", [*arguments.set, f"train.seed={seed}"]
        )
        answers = read_answers(folder, solution)
        gaps.append(gap(answers))
        print(_format(f"{arguments.recipe}, seed {seed}", folder, baseline, answers), flush=True)
    print(f"mean {statistics.mean(gaps):.3f}, {min(gaps):.3f} to {max(gaps):.3f}")


def _format(name: str, folder: Path, baseline: Answers, answers: Answers) -> str:
    figures, gain = read_figures(folder), compare_answers(baseline, answers)
    cells = [
        name,
        f"{gap(answers):.3f}",
        f"{figures['steps']['knn']['gap']:.3f}",
        f"{gain.difference:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
        f"{sum(figures['seconds'].values()):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
