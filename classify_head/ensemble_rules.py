"""What several heads' answers to the same images become: one value for each class they name.

A rule is a function from Ballots to values; RULES names them all. Knows neither models nor how the
values are ranked: see ensemble.py. Arrays in, arrays out.

Source: the reports "CS 231N Final Project: Landmark Recognition" (Dobles, Varela), for majority,
and "CS231N Project Final Report: Landmark Recognition Challenge" (Zeng, Ye, Liu), for its four
ensembles, (1) to (4). Neither gives formulas: what we read from a sentence is said with each rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ballots:
    """What M members say of the classes that any of them names, for N images.

    Attributes:
        labels: [N, L] int64, each at most once a row; -1 is padding.
        probabilities: [M, N, L] float64 in [0, 1], by each member; 0 where it does not name the
            class, and for padding.
        firsts: [M, N, L] bool, the class is the member's first choice.
        weights: [M] float64, of the members; the sum is above 0.
    """

    labels: Ints
    probabilities: Floats
    firsts: Bools
    weights: Floats

    @property
    def unanimous(self) -> Bools:
        """[N, 1] bool, all members have the same first choice."""
        common = np.all(self.firsts, axis=0)
        return np.asarray(np.any(common, axis=1, keepdims=True))


def majority(ballots: Ballots) -> Floats:
    """Let the class win that most members choose first; of equals, the larger mean probability.

    value = (members that choose it first + mean probability) / (M + 1): among images, too, more
    votes come before fewer. The mean never outweighs a vote, as it is below 1 wherever a member
    chooses otherwise.

    Source: Dobles and Varela, of three models that were trained on three sets.
    """
    members = len(ballots.weights)
    votes = ballots.firsts.sum(axis=0)
    return np.asarray((votes + _add(ballots.probabilities) / members) / (members + 1))


def highest(ballots: Ballots) -> Floats:
    """Let the member of the highest confidence answer: value = its largest probability.

    Source: Zeng, Ye and Liu (1).
    """
    return np.asarray(ballots.probabilities.max(axis=0))


def corrected(ballots: Ballots) -> Floats:
    """Let the second member, of fewer classes, correct the first one's confidence.

    Where both have the same first choice, its value is the second member's probability, and the
    first one's other classes are scaled along, so that it stays first. Elsewhere the first member,
    which knows the more classes, stands as it is. What it does not name has 0.

    Source: Zeng, Ye and Liu (2): "large-set model corrected by small-set model where they agree".
    """
    large, small = ballots.probabilities
    choice = ballots.firsts.all(axis=0)
    before = (large * choice).sum(axis=1, keepdims=True)
    after = (small * choice).sum(axis=1, keepdims=True)
    factor = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    scaled = np.where(ballots.unanimous, large * factor, large)
    return np.asarray(np.where(choice, small, scaled))  # small itself: no rounding of the factor


def boost(ballots: Ballots) -> Floats:
    """Raise the confidence of a class that several members choose first.

    value = 1 - product of (1 - probability) over the members that choose it first, were their
    mistakes independent; at least the largest probability of any member, which is all there is for
    other classes. It nears 1 fast: float32 tells apart none above 1 - 3e-8.

    Source: Zeng, Ye and Liu (3).
    """
    doubts = np.where(ballots.firsts, 1 - ballots.probabilities, 1.0)
    # In order of size, so that the order of members can't change the last bit.
    together = 1 - np.sort(doubts, axis=0).prod(axis=0)
    several = ballots.firsts.sum(axis=0) > 1
    largest = highest(ballots)
    return np.where(several, np.maximum(together, largest), largest)


def mean(ballots: Ballots) -> Floats:
    """Average the probabilities of the members by their weights; a class not named has 0.

    Source: soft voting; Zeng, Ye and Liu (4), but everywhere.
    """
    weighted = ballots.probabilities * ballots.weights[:, None, None]
    return np.asarray(_add(weighted) / _add(ballots.weights))


def agreeing_mean(ballots: Ballots) -> Floats:
    """Average as mean does where all members have the same first choice, elsewhere take highest.

    Source: Zeng, Ye and Liu (4): "averaged or weighted confidence where they agree". What they do
    elsewhere is not said; highest is their (1).
    """
    return np.where(ballots.unanimous, mean(ballots), highest(ballots))


RULES: dict[str, Callable[[Ballots], Floats]] = {
    "majority": majority,
    "highest": highest,
    "corrected": corrected,
    "boost": boost,
    "mean": mean,
    "weighted": mean,
    "agreeing-mean": agreeing_mean,
}
WITH_WEIGHTS = ("weighted", "agreeing-mean")  # rules that may be given weights


def _add(values: Floats) -> Floats:
    """Sum over members [M, ...], in order of size: their order can't change the last bit."""
    return np.asarray(np.sort(values, axis=0).sum(axis=0))
