"""The five reports and our default on one dataset, and what came of the reports' own claims.

Each recipe is a run of its own, as `cairn run` makes it, one after the other; runs that are there
are not made again. A recipe that trains from scratch gets no weights. Prints two tables in
Markdown: the recipes, and with --claims changes of them, of which the classification head alone is
scored: that is what the claims are about.

python -m tests.benchmarks.bench_reports DATA --into FOLDER [--weights FILE] [--default NAME]
    [--set KEY=VALUE]... [--claims]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classify_head.answers import Answers
from classify_head.comparison import compare_answers
from classify_head.gap import gap
from classify_head.label_scores import Choice
from classify_head.submission import (
    Solution,
    load_submission,
    match_answers,
)
from pipelines.answers.open_run import load_split_embeddings
from pipelines.datasets.dataset import Dataset
from pipelines.runs.recipe import load_recipe

REPORTS = ("torino", "balanced-ensemble", "facenet-hadamard", "se-attention", "xception-bilinear")
PLAIN = ("rerank.method=none", "decide.policy=head")  # claims are about the classifier


@dataclass(frozen=True)
class Variant:
    """A recipe with some changes, at small scale."""

    name: str
    recipe: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """What a report found, and the runs that look for it here."""

    claim: str
    variants: tuple[Variant, ...]


def _vary(recipe: str, **changes: str) -> tuple[Variant, ...]:
    """Return variants of a recipe; changes by name, several divided by blanks."""
    return tuple(
        Variant(name.replace("_", " "), recipe, tuple(text.split()))
        for name, text in changes.items()
    )


SINGLE, XCEPTION = "se-attention-single", "xception-bilinear"
ADAM = (
    "train.optimizer=adam train.warmup=0.1 "  # without a warm-up it undoes the pretrained weights
)
CLAIMS = (
    Claim(
        "SGD against Adam (se-attention uses both)",
        _vary(
            SINGLE,
            SGD="",
            Adam=ADAM + "train.learning_rate=1e-3 train.head_learning_rate=1e-3",
            Adam_slower=ADAM + "train.learning_rate=3e-4 train.head_learning_rate=3e-3",
        ),
    ),
    Claim(
        "Focal loss against cross entropy (se-attention)",
        _vary(
            SINGLE,
            cross_entropy="",
            focal_half="train.head_loss=focal train.focal_gamma=0.5",
            focal_two="train.head_loss=focal train.focal_gamma=2",
        ),
    ),
    Claim(
        "Larger images are better (se-attention)",
        _vary(
            SINGLE,
            pixels_64="train.image_size=64",
            pixels_96="",
            pixels_128="train.image_size=128",
        ),
    ),
    Claim(
        "Full fine-tuning beats phases (se-attention)",
        (*_vary(SINGLE, full=""), *_vary("se-attention-phases", phases="")),
    ),
    Claim(
        "SE-attention does not help (se-attention)",
        _vary(SINGLE, without="", with_attention="train.attention.kind=se"),
    ),
    Claim(
        "Spatial attention hurts, bilinear pooling helps, self-attention a little (xception)",
        _vary(
            XCEPTION,
            plain="train.attention.kind=none train.pooling.kind=spoc",
            spatial="train.attention.kind=spatial train.pooling.kind=spoc",
            bilinear="train.attention.kind=none",
            bilinear_and_self="",
        ),
    ),
    Claim(
        "A fixed Hadamard classifier instead of a learned one (facenet-hadamard-fc)",
        _vary("facenet-hadamard-fc", learned="", hadamard="train.head.kind=hadamard"),
    ),
)


def make_run(
    arguments: argparse.Namespace, folder: Path, recipe: str, scale: str, changes: Sequence[str]
) -> None:
    """Do a recipe as a user does, in a process of its own, unless it is done."""
    if (folder / "report.html").is_file():  # the last of its files
        return
    command = [sys.executable, "-m", "pipelines", "run", "--recipe", recipe, "--scale", scale]
    command += ["--data", str(arguments.data), "--run", str(folder)]
    if arguments.weights and load_recipe(recipe).train.pretrained:
        command += ["--weights", str(arguments.weights)]
    for change in changes:
        command += ["--set", change]
    print(f"{folder.name} ...", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w") as log:
        if subprocess.run(command, stdout=log, stderr=log).returncode:
            sys.exit(f"{' '.join(command)}\nfailed; {log.name} says why")


def read_figures(folder: Path) -> dict[str, Any]:
    """Return metrics.json of a run."""
    figures: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return figures


def training_seconds(figures: dict[str, Any]) -> float:
    """Return what all models of a run took to train."""
    seconds: dict[str, float] = figures["seconds"]
    return sum(took for name, took in seconds.items() if name.endswith(("model", "delf")))


def read_answers(folder: Path, solution: Solution) -> Answers:
    """Return the submission of a run beside the truth."""
    return match_answers(*load_submission(folder / "submission.csv"), solution)


def compare_recipes(arguments: argparse.Namespace, solution: Solution) -> str:
    """Run the default and the reports; return the table."""
    lines = [
        "| recipe | GAP | less than the default (95 %) | landmark-only GAP | top-1 "
        "| head alone | neighbours alone | training s | all s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    default = arguments.into / arguments.default
    make_run(arguments, default, arguments.default, "full", ())
    for recipe in REPORTS:
        make_run(arguments, arguments.into / recipe, recipe, "small", arguments.set)
    ours = read_answers(default, solution)
    for recipe in (arguments.default, *REPORTS):
        folder = arguments.into / recipe
        figures, answers = read_figures(folder), read_answers(folder, solution)
        lost = compare_answers(answers, ours)
        steps = figures["steps"]
        less = f"{lost.difference:.3f} ({lost.low:.3f} to {lost.high:.3f})"
        cells = [
            recipe,
            f"{figures['gap']:.3f}",
            "" if recipe == arguments.default else less,
            f"{figures['gap_landmark_only']:.3f}",
            f"{figures['top1']:.3f}",
            f"{steps['head_only']['gap']:.3f}",
            f"{steps['knn']['gap']:.3f}",
            f"{training_seconds(figures):.0f}",
            f"{sum(figures['seconds'].values()):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def score_members(folder: Path, solution: Solution) -> str:
    """Return the GAP of the head of each member of an ensemble, and of all together."""
    found = []
    for member in (*sorted((folder / "members").glob("*")), folder):
        head = load_split_embeddings(member, "test")
        confidences = head.head.probabilities[:, 0].astype(np.float64)
        choice = Choice(head.head.labels[:, 0], confidences)
        answers = match_answers(head.ids, choice, solution)
        name = "together" if member == folder else member.name
        found.append(f"{name} {gap(answers):.3f}")
    return ", ".join(found)


def explain_steps(arguments: argparse.Namespace, solution: Solution) -> str:
    """Return what ensembles and verification by DELF brought in the runs of the reports."""
    lines = []
    for recipe in ("balanced-ensemble", "se-attention"):
        lines.append(f"- {recipe}: {score_members(arguments.into / recipe, solution)}")
    for recipe in ("torino", "se-attention"):
        figures = read_figures(arguments.into / recipe)
        before, after = figures["steps"]["head_only"], figures["steps"]["final"]
        lines.append(f"- {recipe}: head {before['gap']:.3f}, after DELF {after['gap']:.3f}")
    return "\n".join(lines)


def try_claims(arguments: argparse.Namespace) -> str:
    """Run the variants of all claims; return a table of what their heads answer."""
    lines = ["| claim | variant | GAP | landmark-only GAP | top-1 |", "|---|---|---|---|---|"]
    for claim in CLAIMS:
        for place, variant in enumerate(claim.variants):
            folder = arguments.into / variant.recipe  # there already, if it is a report as it is
            if variant.changes or variant.recipe not in REPORTS:
                name = "-".join([variant.recipe, *variant.changes])
                folder = arguments.into / "claims" / name.replace("/", "-").replace("=", "-")
                changes = (*PLAIN, *variant.changes, *arguments.set)
                make_run(arguments, folder, variant.recipe, "small", changes)
            head = read_figures(folder)["steps"]["head_only"]
            cells = [claim.claim if place == 0 else "", variant.name]
            cells += [f"{head[name]:.3f}" for name in ("gap", "gap_landmark_only", "top1")]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--default", default="photos", help="recipe to beat them, at full scale")
    parser.add_argument("--set", action="append", default=[], help="changes of the reports")
    parser.add_argument("--claims", action="store_true", help="test the reports' claims, too")
    arguments = parser.parse_args()
    solution = Dataset(arguments.data).solution
    print(compare_recipes(arguments, solution), flush=True)
    print("\n" + explain_steps(arguments, solution), flush=True)
    if arguments.claims:
        print("\n" + try_claims(arguments), flush=True)


if __name__ == "__main__":
    main()
