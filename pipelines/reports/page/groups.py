"""Choose the queries that the report of a run shows, and group them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from classify_head.answers import NO_LANDMARK

from .answers import RunAnswers
from .cases import CaseBuilder
from .errors import Error, list_errors, pick_errors, pick_surest
from .records import Group

ERRORS, BARELY, SUREST = 12, 6, 6  # shown
LINES_EXPLAINED = (
    "Lines join what geometry takes for the same point in two photos: look whether they lie on the "
    "landmark, or on what happens to stand around it."
)


@dataclass(frozen=True)
class Picked:
    """The queries that the report shows."""

    errors: tuple[Error, ...] = ()  # with a solution
    barely: tuple[int, ...] = ()  # with one: rows of the answers that were right
    doubtful: tuple[int, ...] = ()  # without one: rows of the answers
    surest: tuple[int, ...] = ()

    @property
    def rows(self) -> list[int]:
        """All of them, as rows of the answers."""
        errors = (error.row for error in self.errors)
        return [*errors, *self.barely, *self.doubtful, *self.surest]


def pick_cases(run: RunAnswers) -> Picked:
    """Choose the queries to show: what went wrong or is in doubt, the hard ones, the surest."""
    answers = run.answers
    if run.has_solution:
        right = np.where(answers.correct, answers.labels, NO_LANDMARK)
        errors = pick_errors(list_errors(answers), ERRORS)
        surest = pick_surest(answers.confidences, right, SUREST)
        shown = {*(error.row for error in errors), *surest}
        order = answers.ranking[::-1]
        hard = order[(answers.correct & run.given)[order]].tolist()
        barely = [row for row in hard if row not in shown][:BARELY]
        return Picked(tuple(errors), tuple(barely), (), tuple(surest))
    order = answers.ranking
    least_sure, refused = order[run.given[order]][::-1], order[~run.given[order]]
    doubtful = [*least_sure[: ERRORS // 2].tolist(), *refused[: ERRORS // 2].tolist()]
    given = np.where(run.given, answers.labels, NO_LANDMARK)
    return Picked((), (), tuple(doubtful), tuple(pick_surest(answers.confidences, given, SUREST)))


def make_groups(run: RunAnswers, picked: Picked, builder: CaseBuilder) -> list[Group]:
    """Return the chosen queries as cases under their headings, no heading without one."""
    surest = tuple(picked.surest)
    if run.has_solution:
        lead = f"{_count_kinds(list_errors(run.answers))} {LINES_EXPLAINED}"
        cases = [builder.build_error(error) for error in picked.errors]
        groups = [Group("The costliest errors", lead, tuple(cases))]
        lead = "The right answers that were given with the lowest confidence: the hard photos."
        cases = [builder.build_right(row) for row in picked.barely]
        groups.append(Group("Right, but barely", lead, tuple(cases)))
        lead = "The right answers with the highest confidence, one a landmark."
        cases = [builder.build_right(row) for row in surest]
    else:
        lead = f"The least sure answers, then the surest that were refused. {LINES_EXPLAINED}"
        cases = [builder.build_unjudged(row) for row in picked.doubtful]
        groups = [Group("In doubt", lead, tuple(cases))]
        lead = "The answers with the highest confidence, one a landmark."
        cases = [builder.build_unjudged(row) for row in surest]
    groups.append(Group("The surest answers", lead, tuple(cases)))
    return [group for group in groups if group.cases]


def _count_kinds(errors: list[Error]) -> str:
    """Say how many errors there are of each kind, the commonest first."""
    counts = Counter(error.kind for error in errors)
    listed = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
    total = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    return f"{total} ({listed}); the costliest of all and of each kind are shown."
