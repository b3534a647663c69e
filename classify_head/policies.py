"""Answer queries by one of the published policies, or ours, all from the same evidence.

POLICIES names them; where a source leaves something open, the docstring of the step says which
reading was taken. The record Policy is in policy.py. Arrays in, arrays out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .evidence import Evidence
from .extras import Extras
from .fusion import Calibrated, MinusPool, SoftmaxVotes, TimesHead, Weighted
from .head_fusion import BetaMix, HeadAlone, InliersMix
from .label_scores import Choice, LabelScores, look_up
from .ordering import FrequentLast
from .penalties import NeighborPenalty, QueryGate, average_pool
from .policy import Policy
from .rejection import RejectFewInliers, RejectTorino
from .rescoring import AddHead, AddInliers, LabelAgreement, MultiplyInliers
from .votes import CentroidVote, NormVote, PowerVote, SumVote

# Steps that several policies share.
INLIERS_ADD = AddInliers(cap=70, similarity="distance", candidates=3)
CLIPPED_POOL = NeighborPenalty(nearest=5, clip=True)

POLICIES: dict[str, Policy] = {
    "top1": Policy(source="baseline", vote=SumVote(most=1)),
    "head": Policy(source="baseline", fusion=HeadAlone()),
    "knn-sum": Policy(source="baseline", vote=SumVote()),
    "knn-norm": Policy(source="2018 4th place", vote=NormVote(neighbors=5)),
    "knn-power": Policy(source="2020 3rd place", vote=PowerVote(power=8, most=5)),
    "knn-power-x-head": Policy(
        source="2020 3rd place",
        vote=PowerVote(power=8, most=5),
        fusion=TimesHead(power=12, top=5, floor=1e-8),
    ),
    "centroid": Policy(source="2018 10th place", vote=CentroidVote()),
    "centroid-softmax": Policy(
        source="2019 8th place", vote=CentroidVote(), fusion=SoftmaxVotes(labels=12)
    ),
    "nl-gallery": Policy(
        source="2020 1st place, step B", penalty=CLIPPED_POOL, vote=SumVote(neighbors=3)
    ),
    "nl-query": Policy(
        source="2020 1st place, step C after step B",
        penalty=CLIPPED_POOL,
        vote=SumVote(neighbors=3),
        fusion=MinusPool(nearest=10),
    ),
    "nl-mean3": Policy(
        source="2021 3rd place",
        penalty=NeighborPenalty(nearest=3),
        rescoring=AddHead(candidates=7),
    ),
    "nl-gate": Policy(
        source="2021 4th place",
        penalty=QueryGate(nearest=5, above=0.5),
        vote=SumVote(most=1),
    ),
    "inliers-add": Policy(source="2019 3rd place", rescoring=INLIERS_ADD),
    "inliers-add-35": Policy(
        source="2020 baseline of the hosts", rescoring=AddInliers(cap=35, candidates=3)
    ),
    "inliers-mul": Policy(
        source="2020 7th place", rescoring=MultiplyInliers(cap=200), vote=SumVote(most=1)
    ),
    "inliers-mix": Policy(source="2018 19th place", fusion=InliersMix(share=0.85, images=32)),
    "frequent-label": Policy(
        source="2019 3rd place", rescoring=INLIERS_ADD, order=FrequentLast(above=30)
    ),
    "label-agreement": Policy(
        source="2021 1st place, retrieval", rescoring=LabelAgreement(), vote=SumVote(most=1)
    ),
    "torino": Policy(source="Di Pietro and Martini", fusion=HeadAlone(), rejection=RejectTorino()),
    "se-attention": Policy(
        source="Zeng, Ye and Liu", fusion=HeadAlone(), rejection=RejectFewInliers()
    ),
    "beta-mix": Policy(source="Yep and Chen", vote=SumVote(most=1), fusion=BetaMix()),
    "weighted": Policy(source="ours", vote=PowerVote(power=8, most=5), fusion=Weighted()),
    "calibrated": Policy(source="ours", vote=PowerVote(power=8, most=5), fusion=Calibrated()),
}

NO_EXTRAS = Extras()
NO_GUESS = "no landmark of the database comes into question"


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a policy makes of Q queries.

    Attributes:
        guesses: the best labels, also where they were rejected, and how sure they are; -1 and 0
            without neighbours.
        votes: [Q] float64, the guess's score in the vote; 0 where it got none.
        penalties: [Q] float64, how much the query looks like images without a landmark, as the
            policy averages their cosines; 0 without a pool.
        reasons: [Q], why there is no answer, for people; "" where there is one.
        ranked: the labels that the neighbours voted for, best first.

    Raises:
        ValueError: lengths differ, or a query has neither a guess nor a reason.
    """

    guesses: Choice
    votes: NDArray[np.float64]
    penalties: NDArray[np.float64]
    reasons: tuple[str, ...]
    ranked: LabelScores

    def __post_init__(self) -> None:
        """Check that each query has an answer or a reason."""
        expected = self.guesses.labels.shape
        ranked = self.ranked.labels.shape[:1]
        shapes = [self.votes.shape, self.penalties.shape, (len(self.reasons),), ranked]
        if set(shapes) != {expected}:
            raise ValueError(f"votes, penalties, reasons, ranked {shapes}, expected {expected}")
        if (self.answers.labels < 0).tolist() != [bool(why) for why in self.reasons]:
            raise ValueError("a query without a guess must have a reason")

    @cached_property
    def answers(self) -> Choice:
        """The guesses that stand, with label -1 where there is no known landmark."""
        rejected = [bool(why) for why in self.reasons]
        return Choice(np.where(rejected, -1, self.guesses.labels), self.guesses.confidences)


def decide(evidence: Evidence, policy: Policy, extras: Extras = NO_EXTRAS) -> Decisions:
    """Answer Q queries.

    A query without neighbours has no answer, whatever the head says: nothing could support it.

    Args:
        evidence: of the queries.
        policy: how; see policies.POLICIES.
        extras: what some policies need beyond the evidence, of the same queries.

    Raises:
        MissingEvidenceError: the policy needs a pool, a head or extras that are not there.
        ValueError: extras of other queries than the evidence.
    """
    scores = policy.rescoring(evidence, extras, policy.penalty(evidence))
    votes = policy.vote(evidence, extras, scores)
    has_neighbors = np.asarray((evidence.labels >= 0).any(axis=1))
    choice = policy.fusion(evidence, extras, votes).only(has_neighbors)
    rejected = policy.rejection(evidence, choice)
    pairs = zip(choice.labels.tolist(), rejected, strict=True)
    reasons = tuple(why if guess >= 0 else NO_GUESS for guess, why in pairs)
    return Decisions(
        guesses=Choice(choice.labels, policy.order(choice)),
        votes=look_up(votes.labels, votes.scores, choice.labels[:, None], missing=0.0)[:, 0],
        penalties=average_pool(evidence.query_pool, policy.pool_images),
        reasons=reasons,
        ranked=votes,
    )
