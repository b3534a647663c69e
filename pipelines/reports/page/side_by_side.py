"""Write two runs side by side: what each answered to the same photos, and by which neighbour.

Reads both run folders, their dataset and its solution. Writes one HTML file; the same runs give
the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK
from classify_head.submission import load_solution
from pipelines.runs.job import Job
from pipelines.scores.evaluate import find_submission

from .album import Album, open_album
from .answers import RunAnswers, read_answers, spread
from .records import Case, Group, Picture, Tile, Tone
from .render import save_page

SHOWN = 8  # photos of a group


@dataclass(frozen=True)
class SideBySide:
    """All that the page shows; empty groups are left out."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]  # how many photos are in each group
    groups: tuple[Group, ...]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two runs."""

    name: str
    run: RunAnswers
    album: Album  # of the photos that are shown

    def describe(self, row: int) -> str:
        """Return the answer to a photo in words."""
        answers = self.run.answers
        label, confidence = int(answers.labels[row]), answers.confidences[row]
        if label == NO_LANDMARK:
            return "no answer"
        said = f"{self.album.name(label)}, confidence {confidence:.3f}"
        return said if self.run.given[row] else f"refused, it would be {said}"

    def show(self, row: int, right: bool) -> Picture:
        """Return a photo beside the database photo that speaks most for the answer."""
        query_id, label = self.run.answers.query_ids[row], int(self.run.answers.labels[row])
        near = None if label == NO_LANDMARK else self.album.find_best(query_id, label)
        title = f"{self.name}, {'right' if right else 'wrong'}: {self.describe(row)}"
        return self.album.show_pair(query_id, near, title)


def write_side_by_side(job_a: Job, job_b: Job, path: Path, solution: Path | None = None) -> None:
    """Write the page of two finished runs; arguments and errors as collect_side_by_side.

    Args:
        job_a: a run.
        job_b: another, of the same test photos.
        path: the HTML file to write.
        solution: None for that of the first run's dataset.
    """
    save_page("side_by_side", collect_side_by_side(job_a, job_b, solution), path)


def collect_side_by_side(job_a: Job, job_b: Job, solution: Path | None = None) -> SideBySide:
    """Collect what the page shows.

    Raises:
        FileNotFoundError: a run is not finished, or there is no solution.
        ValueError: a run was not asked about photos that the solution scores.
    """
    jobs = (job_a, job_b)
    for job in jobs:
        find_submission(job.run)
    truth = load_solution(solution) if solution else job_a.dataset.solution
    runs = [read_answers(job.run, truth) for job in jobs]  # both in the order of the same ids
    right = [find_correct(run) for run in runs]
    rows = [pick_sample(runs, members) for members in split_rows(*right)]
    ids = [runs[0].answers.query_ids[row] for sample in rows for row in sample]
    names = name_runs(job_a.run, job_b.run)
    sides = [
        Side(name, run, open_album(job, ids))
        for name, run, job in zip(names, runs, jobs, strict=True)
    ]
    return SideBySide(
        f"{names[0]} and {names[1]}",
        tuple((name, _describe(job)) for name, job in zip(names, jobs, strict=True)),
        tuple(_count(names, split_rows(*right))),
        tuple(_make_groups(sides, right, rows)),
    )


def find_correct(run: RunAnswers) -> NDArray[np.bool_]:
    """Return for each photo [Q] whether its answer is true.

    That is a true landmark that was given, or "no known landmark" where there is none. GAP counts
    otherwise: it scores refused answers, too.
    """
    return np.where(run.answers.has_landmark, run.answers.correct & run.given, ~run.given)


def split_rows(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the rows where only a is right, only b, none, and both.

    >>> split_rows(np.array([True, True, False]), np.array([True, False, False]))
    [array([1]), array([], dtype=int64), array([2]), array([0])]
    """
    return [np.flatnonzero(members) for members in (a & ~b, b & ~a, ~a & ~b, a & b)]


def pick_sample(
    runs: Sequence[RunAnswers], members: NDArray[np.int64], count: int = SHOWN
) -> list[int]:
    """Return some rows, from those that the runs are surest of to the least sure, evenly spread.

    Ranks are compared, as confidences of two runs may have no common scale.
    """
    ranks = np.zeros(len(members))
    for run in runs:
        answered = run.answers.labels[members] != NO_LANDMARK
        confidences = np.where(answered, run.answers.confidences[members], -np.inf)
        # Equal confidences share a rank, so that order does not depend on which run is first.
        ranks += np.unique(confidences, return_inverse=True)[1] / max(len(members), 1)
    return [int(members[place]) for place in spread(ranks.tolist(), count)] if len(members) else []


def name_runs(a: Path, b: Path) -> tuple[str, str]:
    """Return the names of two run folders, their paths if these are the same."""
    a, b = a.resolve(), b.resolve()
    return (a.name, b.name) if a.name != b.name else (str(a), str(b))


def _describe(job: Job) -> str:
    name = Path(job.recipe_name).stem  # a path would differ between machines
    return f"{job.recipe.description or 'no description'} ({name})"


def _count(names: Sequence[str], members: Sequence[NDArray[np.int64]]) -> list[Tile]:
    total = sum(map(len, members))
    return [
        Tile(title, str(len(rows)), f"of {total} photos")
        for title, rows in zip(_titles(names), members, strict=True)
    ]


def _titles(names: Sequence[str]) -> tuple[str, ...]:
    return f"Only {names[0]} is right", f"Only {names[1]} is right", "Both are wrong", "Both right"


def _make_groups(
    sides: Sequence[Side], right: Sequence[NDArray[np.bool_]], rows: Sequence[Sequence[int]]
) -> list[Group]:
    """Return the chosen photos under their headings, no heading without one."""
    names = [side.name for side in sides]
    leads = (
        f"What {names[1]} lost.",
        f"What {names[1]} won.",
        "The hard cases.",
        "The easy cases, and at the end those that both were least sure of.",
    )
    badges: tuple[tuple[str, Tone], ...] = (
        (f"only {names[0]}", "warn"),
        (f"only {names[1]}", "warn"),
        ("both wrong", "bad"),
        ("both right", "good"),
    )
    groups = []
    for title, lead, (badge, tone), sample in zip(_titles(names), leads, badges, rows, strict=True):
        lead_in = f"{lead} From the surest answers to the least sure, {len(sample)} shown."
        cases = tuple(_make_case(sides, right, row, badge, tone) for row in sample)
        groups.append(Group(title, lead_in, cases))
    return [group for group in groups if group.cases]


def _make_case(
    sides: Sequence[Side], right: Sequence[NDArray[np.bool_]], row: int, badge: str, tone: Tone
) -> Case:
    """Return one photo with the answers of both."""
    answers = sides[0].run.answers
    truth = " and ".join(sides[0].album.name(label) for label in sorted(answers.truths[row]))
    facts = [f"photo {answers.query_ids[row]}"]
    facts += [
        f"{side.name} refused: {side.run.reasons[row]}"
        for side in sides
        if not side.run.given[row] and side.run.reasons[row]
    ]
    pairs = [side.show(row, bool(known[row])) for side, known in zip(sides, right, strict=True)]
    return Case(truth or "Shows nothing known", badge, tone, tuple(facts), tuple(pairs), ())
