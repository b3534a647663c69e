"""Say in two sentences how the confidence of an answer came about, for people.

Of the calibrated fusion these are the numbers that raise it most and lower it most; of the other
policies the votes that there were. Knows no file.
"""

import math
from collections.abc import Callable, Sequence

from classify_head.calibration import CalibratedFusion
from classify_head.contributions import Contribution, confidence_without, find_contributions
from classify_head.evidence import Evidence
from embed.printable import printable

from .answer import Answer, Match, RankedLabel
from .decision import Decision

LEAST = 0.05  # log-odds; what changes a confidence by less is not worth a word
NAMED = 2  # of what raises it


def _above(value: float, digits: int = 2) -> str:
    return f"{abs(value):.{digits}f} {'above' if value >= 0 else 'below'}"


def _count(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if round(count) == 1 else 's'}"


def _times(logarithm: float) -> str:
    ratio = math.exp(logarithm)
    return f"{ratio:,.0f} times" if ratio >= 99.5 else f"{ratio:.2g} times"


# What a feature of classify_head.pair_features says, from its value.
PHRASES: dict[str, Callable[[float], str]] = {
    "similarity": lambda v: f"the similarity of {v:.2f} to its nearest photo",
    "similarity_lead": lambda v: f"a similarity {_above(v)} the best of another",
    "votes": lambda v: f"the votes of its nearest photos, {v * v:.1f} in all",
    "vote_lead": lambda v: f"{_times(v)} the votes of the best other",
    "inliers": lambda v: f"{_count(math.expm1(v), 'inlier')} beyond chance in its photos",
    "inlier_lead": lambda v: f"{_times(v)} the inliers of the best other",
    "inlier_share": lambda v: f"its share of all inliers, {v:.0%}",
    "most_inliers": lambda v: f"{_count(math.expm1(v), 'inlier')} beyond chance in its best photo",
    "mean_inliers": lambda v: f"{math.expm1(v):.1f} inliers beyond chance in a photo of it",
    "residual": lambda v: f"the {v:.1f} pixels by which matched points miss one another",
    "pool": lambda v: f"the likeness of {v:.2f} to photos without a landmark",
    "head_lead": lambda v: f"a score of the classification head {_above(v)} that of another",
    "class_size": lambda v: f"{_count(math.exp(v), 'photo')} of it in the database",
}


def explain_fusion(
    answer: Answer, model: CalibratedFusion, known: Sequence[Contribution], threshold: float
) -> str:
    """Explain a confidence of the calibrated fusion.

    Args:
        answer: with a guess, which is the first of its top.
        model: that gave the confidence.
        known: of its features, at least one.
        threshold: below which nothing is answered.
    """

    def tell(contribution: Contribution) -> str:
        without = confidence_without(model, known, contribution.feature)
        return f"{PHRASES[contribution.feature](contribution.value)} ({without:.3f} without)"

    ordered = sorted(known, key=lambda each: -each.logit)
    raising = [tell(each) for each in ordered if each.logit >= LEAST][:NAMED]
    lowering = [tell(each) for each in ordered[::-1] if each.logit <= -LEAST][:1]
    source = f"comes most of all from {', then '.join(raising)}" if raising else "rests on little"
    lowered = f"What lowers it most is {lowering[0]}" if lowering else "Nothing lowers it much"
    if answer.label is None and math.isfinite(threshold):
        lowered += f"; from {threshold:.3f} on it would be the answer"
    elif not model.fitted:
        lowered += "; the weights are those of other data, for want of known photos"
    return (
        f"Confidence {answer.confidence:.3f} that this is {answer.top[0].name} {source}. {lowered}."
    )


def explain_votes(answer: Answer, matches: Sequence[Match]) -> str:
    """Explain a confidence of a policy that knows no probabilities.

    Args:
        answer: with a guess, which is the first of its top.
        matches: all neighbours of the photo.
    """
    guess, *others = answer.top
    voters = sorted((m for m in matches if m.label == guess.label and m.votes > 0), key=_votes)
    first = f"Confidence {answer.confidence:.3f} that this is {guess.name} "
    if voters:
        named = f"{voters[-1].image_id} with {voters[-1].votes:.3g}"
        first += f"comes from the votes of {_count(len(voters), 'photo')}, {guess.votes:.3g} in "
        first += f"all, the strongest {named}"
    else:
        first += "is what the classification head says: no photo of it had a vote"
    rival = max(others, key=_votes, default=None)
    second = "No other landmark had a vote"
    if rival is not None and rival.votes > 0:
        second = f"The next landmark, {rival.name}, has {rival.votes:.3g}"
    if answer.penalty:
        second += f", and the likeness to photos without a landmark is {answer.penalty:.3g}"
    return f"{first}. {second}."


def _votes(each: Match | RankedLabel) -> float:
    return each.votes


def explain(
    answer: Answer,
    evidence: Evidence,
    query: int,
    matches: Sequence[Match],
    *,
    decision: Decision,
) -> str:
    """Say how the confidence of an answer came about; as much as its reason where it guesses none.

    Args:
        answer: with its top.
        evidence: that it was decided by.
        query: row of the evidence.
        matches: all neighbours of the photo.
        decision: that was made by.
    """
    model = decision.model
    if answer.guess is None or not answer.top:
        return ""
    known = find_contributions(model, evidence, query, answer.guess) if model else ()
    if model is not None and known:
        return printable(explain_fusion(answer, model, known, decision.threshold))
    return printable(explain_votes(answer, matches))
