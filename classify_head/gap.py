"""Measure ranked landmark answers: Global Average Precision (GAP) and what explains it.

Arrays in, numbers out: this file knows no table, no path and no model. GAP, also called
micro-AP, ranks the answers to all queries in one list, most confident first:

    GAP = (1 / M) * sum over i = 1..N of P(i) * rel(i)

N counts the answers; an unanswered query takes no rank. rel(i) is 1 where answer i names one
of the true landmarks of its query, P(i) is the share of right answers among the first i, and
M counts the queries that show a landmark, answered or not. An answered query without a
landmark (a distractor) takes a rank and is never right. Equal confidences are ordered by
query id, ascending; a query has one answer, so its label never has to decide.

Source: Perronnin, Liu and Renders, "A family of contextual measures of similarity between
distributions with application to image retrieval", CVPR 2009; Weyand et al., "Google
Landmarks Dataset v2", CVPR 2020, equation 1.
"""

from typing import Any

import numpy as np

from embed.errors import InputError

from .answers import Answers
from .bootstrap import draw_counts, percentile_interval
from .label_scores import Bools, Ints


def average_precision(right: Bools, n_landmark: int) -> float:
    """Average the precision at each right answer of one ranked list.

    Args:
        right: [N] bool, best answer first.
        n_landmark: how many right answers there could be, at least 1.

    Returns:
        A value in [0, 1]; 0 for an empty list.

    Example: right at ranks 1 and 3 of three possible gives (1/1 + 2/3) / 3.

        >>> round(average_precision(np.array([True, False, True]), 3), 4)
        0.5556
    """
    hits = np.cumsum(right)
    ranks = np.arange(1, len(right) + 1)
    return float((hits / ranks)[right].sum() / n_landmark)


def gap(answers: Answers) -> float:
    """Compute the Global Average Precision, in [0, 1], distractors included.

    Definition, ties and empty ground truth are those at the top of this file.

    Raises:
        InputError: if no query shows a landmark (M = 0), where GAP is undefined.

    Example: a distractor is the surest answer, so the right answer at rank 2 has precision
    1/2; one of two landmark queries is unanswered.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> gap(Answers.from_rows(rows))
        0.25
    """
    return average_precision(answers.correct[answers.ranking], _n_landmark(answers))


def gap_landmark_only(answers: Answers) -> float:
    """Compute GAP after leaving out the queries without a landmark.

    Ties as in gap. It says how good labels and their order are where there is something to
    recognise, and hides every false alarm: report it beside gap, never instead.

    Raises:
        InputError: if no query shows a landmark.

    Example: without the distractor "a", the right answer is at rank 1 of two landmarks.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> gap_landmark_only(Answers.from_rows(rows))
        0.5
    """
    rows = answers.ranking[answers.has_landmark[answers.ranking]]
    return average_precision(answers.correct[rows], _n_landmark(answers))


def top1(answers: Answers) -> float:
    """Compute the share of landmark queries whose answer is right.

    Confidences and ties play no part, an unanswered landmark query counts as wrong, and
    queries without a landmark are left out.

    Raises:
        InputError: if no query shows a landmark.

    Example: one of the two landmark queries is answered, rightly.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> top1(Answers.from_rows(rows))
        0.5
    """
    return float(answers.correct.sum() / _n_landmark(answers))


def reorder_bound(answers: Answers) -> float:
    """Compute the GAP that the same answers would have in the best possible order.

    With all right answers above all wrong ones each has precision 1, so the bound is right / M:
    what a perfect confidence would reach without changing one label. The number is that of
    top1, and bound - gap is what lost_gap puts on "distractor_above" and "ranked_too_low".

    Raises:
        InputError: if no query shows a landmark.

    Example: moving the distractor "a" below "b" would raise GAP from 0.25 to 0.5.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> reorder_bound(Answers.from_rows(rows))
        0.5
    """
    return top1(answers)


def tie_envelope(answers: Answers) -> tuple[float, float, float]:
    """Compute the smallest, largest and mean GAP over all orders of equal confidences.

    A tied group of g answers, r of them right, that begins after n answers with c right has

    - at most: the right ones first, sum over j = 1..r of (c + j) / (n + j);
    - at least: the right ones last, sum over j = 1..r of (c + j) / (n + g - r + j);
    - on average over its g! orders: sum over places p = 1..g of
      (r / g) * (c + 1 + (p - 1) * (r - 1) / (g - 1)) / (n + p).

    Returns:
        (minimum, maximum, mean), all exact; equal to each other without ties.

    Raises:
        InputError: if no query shows a landmark.

    Example: three answers of equal confidence, two of them right.

        >>> rows = [("a", 9, 0.5, [1]), ("b", 2, 0.5, [2]), ("c", 3, 0.5, [3])]
        >>> [round(value, 4) for value in tie_envelope(Answers.from_rows(rows))]
        [0.3889, 0.6667, 0.537]
    """
    total = _n_landmark(answers)
    right = answers.correct[answers.ranking]
    scores = answers.confidences[answers.ranking]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1])[: len(scores)])
    sizes = np.diff(starts, append=len(scores))
    n = np.repeat(starts, sizes)  # answers before the group, for each of its answers
    g = np.repeat(sizes, sizes)
    hits = np.concatenate([[0], np.cumsum(right)])
    c = hits[n]
    r = hits[n + g] - c
    p = np.arange(1, len(scores) + 1) - n
    highest = np.where(p <= r, (c + p) / (n + p), 0).sum()
    lowest = np.where(p > g - r, (c + p - (g - r)) / (n + p), 0).sum()
    mean = (r / g * (c + 1 + (p - 1) * (r - 1) / np.maximum(g - 1, 1)) / (n + p)).sum()
    return float(lowest / total), float(highest / total), float(mean / total)


def bootstrap_interval(
    answers: Answers, *, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Estimate an interval of GAP by drawing the queries again, with replacement.

    Every resample has Q queries; a query drawn w times puts w equal answers in a row. The
    interval runs between the (1 - level) / 2 and (1 + level) / 2 quantiles of the resampled
    GAP. A resample without a landmark has no GAP and is drawn again. The row order doesn't
    matter; the same seed gives the same interval.

    Raises:
        InputError: if no query shows a landmark, level is outside (0, 1) or samples is below 1.

    Example: where every answer is right, so is every resample.

        >>> rows = [("a", 1, 0.9, [1]), ("b", 2, 0.5, [2]), ("c", 3, 0.1, [3])]
        >>> bootstrap_interval(Answers.from_rows(rows), samples=10)
        (1.0, 1.0)
    """
    _n_landmark(answers)
    # Drawn in the order of the ids, so that the order of the rows doesn't matter.
    landmark_by_id = answers.has_landmark[np.argsort(answers.id_rank)]
    draws = draw_counts(landmark_by_id, samples=samples, seed=seed)
    values = [gap_of_counts(answers, counts[answers.id_rank]) for counts in draws]
    return percentile_interval(values, level)


def gap_of_counts(answers: Answers, counts: Ints) -> float:
    """Compute the GAP of a set in which row q occurs counts[q] times, without sorting again.

    Args:
        answers: Q rows.
        counts: [Q] int64, 0 or more.

    Raises:
        InputError: if no query with a positive count shows a landmark.

    Example: the right answer twice at ranks 2 and 3, so (1/2 + 2/3) / 2.

        >>> answers = Answers.from_rows([("a", 7, 0.9, []), ("b", 4, 0.5, [4])])
        >>> round(gap_of_counts(answers, np.array([1, 2])), 4)
        0.5833
    """
    total = int(counts[answers.has_landmark].sum())
    if total == 0:
        raise InputError("no query with a positive count shows a landmark: GAP is undefined")
    right = answers.correct[answers.ranking]
    copies = counts[answers.ranking]
    ends = np.cumsum(copies)[right]
    copies = copies[right]
    hits = np.cumsum(copies) - copies
    starts = ends - copies
    # The sum over j = 1..w of (hits + j) / (starts + j), by harmonic numbers.
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, counts.sum() + 1))])
    sums = copies - (starts - hits) * (harmonic[ends] - harmonic[starts])
    return float(sums.sum() / total)


def lost_gap(answers: Answers) -> dict[str, float]:
    """Say where the missing 1 - GAP went; the four parts sum to it exactly, up to rounding.

    Each landmark query could add 1 / M to GAP. It loses

    - all of it to "unanswered" if it has no answer;
    - all of it to "wrong_label" if its answer is not one of the true labels;
    - if its answer is right, at rank i, the share of the i answers up to there that are wrong:
      "distractor_above" takes the part of the answered queries without a landmark,
      "ranked_too_low" the part of the wrong answers to other landmark queries.

    Ties as in gap.

    Raises:
        InputError: if no query shows a landmark.

    Example: the right answer stands below one distractor, the other landmark has no answer.

        >>> rows = [("a", 7, 0.9, []), ("b", 4, 0.5, [4, 5]), ("c", -1, 0.0, [6])]
        >>> lost = lost_gap(Answers.from_rows(rows))
        >>> lost["unanswered"], lost["wrong_label"], lost["distractor_above"]
        (0.5, 0.0, 0.25)
    """
    total = _n_landmark(answers)
    right = answers.correct[answers.ranking]
    landmark = answers.has_landmark[answers.ranking]
    ranks = np.arange(1, len(right) + 1)
    distractors = (np.cumsum(~landmark) / ranks)[right].sum()
    wrong = (np.cumsum(landmark & ~right) / ranks)[right].sum()
    return {
        "wrong_label": float((landmark & ~right).sum() / total),
        "distractor_above": float(distractors / total),
        "ranked_too_low": float(wrong / total),
        "unanswered": float((total - landmark.sum()) / total),
    }


def summary(answers: Answers, *, samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Collect every figure of this file under the name it is reported by.

    Returns:
        gap, gap_landmark_only, gap_interval [low, high] of 95 percent, tie_envelope
        [min, max, mean], reorder_bound, top1, lost_gap by cause, n_queries, n_landmark and
        n_answered; only numbers, lists and a dict, so it can be written as JSON.

    Raises:
        InputError: if no query shows a landmark.
    """
    return {
        "gap": gap(answers),
        "gap_landmark_only": gap_landmark_only(answers),
        "gap_interval": list(bootstrap_interval(answers, samples=samples, seed=seed)),
        "tie_envelope": list(tie_envelope(answers)),
        "reorder_bound": reorder_bound(answers),
        "top1": top1(answers),
        "lost_gap": lost_gap(answers),
        "n_queries": len(answers.query_ids),
        "n_landmark": _n_landmark(answers),
        "n_answered": len(answers.ranking),
    }


def _n_landmark(answers: Answers) -> int:
    """Count M, the queries that show a landmark, and refuse 0."""
    count = int(answers.has_landmark.sum())
    if count == 0:
        problem = f"none of the {len(answers.query_ids)} queries shows a landmark"
        raise InputError(f"{problem}: GAP is undefined; score a set with at least one")
    return count
