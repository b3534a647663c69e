"""Say in two sentences how the confidence of an answer came about, for people.

Of the calibrated fusion that is what raises it most and what lowers it most, of numbers that say
nearly the same together: a fit gives each of these the other's weight, and may give one of them the
opposite sign. Of the other policies the votes that there were. Knows no file.
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
SEEN = 0.01  # of confidence; a smaller change is not told
NAMED = 2  # of what raises it, and of the numbers that one thing is told by


def _lead(value: float) -> str:
    return f"{abs(value):.2f} {'above' if value >= 0 else 'below'}"


def _times(log: float) -> str:
    ratio = math.exp(log)
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _count(count: float, what: str) -> str:
    return f"{count:.0f} {what}{'' if round(count) == 1 else 's'}"


# What a feature of classify_head.pair_features says, from its value. Those that say nearly the same
# stand together, and are told by the first of them that are known.
LIKENESS: dict[str, Callable[[float], str]] = {
    "similarity": lambda v: f"the similarity of {v:.2f} to its nearest photo",
    "similarity_lead": lambda v: f"{_lead(v)} the similarity to the best other",
    "votes": lambda v: f"the votes of its nearest photos, {v * v:.1f} in all",
    "vote_lead": lambda v: f"{_times(v)} the votes of the best other",
}
INLIERS: dict[str, Callable[[float], str]] = {
    "inliers": lambda v: f"{_count(math.expm1(v), 'inlier')} beyond chance in its photos",
    "inlier_lead": lambda v: f"{_times(v)} the inliers of the best other",
    "inlier_share": lambda v: f"{v:.0%} of all inliers",
    "most_inliers": lambda v: f"{_count(math.expm1(v), 'inlier')} beyond chance in its best photo",
    "mean_inliers": lambda v: f"{math.expm1(v):.1f} inliers beyond chance in a photo of it",
    "residual": lambda v: f"the {v:.1f} pixels by which matched points miss one another",
}
PHRASES: tuple[dict[str, Callable[[float], str]], ...] = (
    LIKENESS,
    INLIERS,
    {"pool": lambda v: f"the likeness of {v:.2f} to photos without a landmark"},
    {"head_lead": lambda v: f"a score of the classification head {_lead(v)} that of another"},
    {"class_size": lambda v: f"having {_count(math.exp(v), 'photo')} in the database, not one"},
)


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
    by_name = {each.feature: each for each in known}
    sure = answer.confidence >= 0.5
    raising, lowering = list[tuple[float, str]](), list[tuple[float, str]]()
    for phrases in PHRASES:
        together = [by_name[name] for name in phrases if name in by_name]
        logit = sum(each.logit for each in together)
        if abs(logit) < LEAST:
            continue
        without = confidence_without(model, known, [each.feature for each in together])
        seen = abs(without - answer.confidence) >= SEEN
        # Where nothing changes what is seen, it is told what made a yes, or a no.
        if seen or sure == (logit > 0):
            said = ", ".join(phrases[each.feature](each.value) for each in together[:NAMED])
            said += f" ({without:.3f} without)" if seen else ""
            (raising if logit > 0 else lowering).append((abs(logit), said))
    most = [said for _, said in sorted(raising, reverse=True)[:NAMED]]
    source = f"comes most of all from {', then '.join(most)}" if most else "rests on little"
    lowered = f"What lowers it most is {max(lowering)[1]}" if lowering else "Nothing lowers it much"
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
