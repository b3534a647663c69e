"""Choose what to keep of a training: the trained features, the pretrained ones, or what is between.

Judged by photos of the landmarks trained on and by landmarks that were not, so that what the
network knew before is lost only for something better. Opens the images of the validation alone.
"""

import logging
from dataclasses import dataclass

from classify_head.comparison import compare_answers
from embed.blend import blend
from embed.model import DescriptorModel

from .validation import Judged, Validation

logger = logging.getLogger(__name__)

SHARES = (1.0, 0.75, 0.5, 0.25)  # of the trained weights; of equal ones the first is kept


@dataclass(frozen=True, eq=False)
class Choice:
    """The model that is kept."""

    model: DescriptorModel
    share: float  # of the trained weights; 0: it is as it was before the training
    start: dict[str, float]  # the figures of the pretrained features


def choose_model(tuned: DescriptorModel, start: DescriptorModel, validation: Validation) -> Choice:
    """Return the mixture of trained and pretrained weights of the largest GAP, if it is better.

    Better means by more than chance; else the pretrained features are kept, and it is said.

    Args:
        tuned: after the training.
        start: before it, with the pretrained weights; on the same device.
        validation: what both are asked.
    """
    before = validation.answer(start)
    first = validation.figures(before)
    best, share, answers = tuned, 1.0, validation.answer(tuned)
    for other in SHARES[1:]:
        mixed = blend(tuned, start, other)
        answered = validation.answer(mixed)
        if validation.figures(answered)["gap"] > validation.figures(answers)["gap"]:
            best, share, answers = mixed, other, answered
    found = validation.figures(answers)["gap"]
    if is_better(answers, before):
        logger.info(
            "kept: %.0f %% of the way from the pretrained weights to the trained ones; GAP of "
            "held-out photos and landmarks %.3f, before the training %.3f",
            *(100 * share, found, first["gap"]),
        )
        return Choice(best, share, first)
    logger.info(
        "kept: the pretrained features; GAP of held-out photos and landmarks %.3f, after the "
        "training %.3f, which is no better or may be chance",
        *(first["gap"], found),
    )
    return Choice(start, 0.0, first)


def is_better(tuned: Judged | None, start: Judged | None) -> bool:
    """Tell whether a model's GAP is larger than that of another one by more than chance.

    With 95 % confidence, by a paired bootstrap over the queries. Where nothing can be asked nothing
    speaks against what was learned.
    """
    if tuned is None or start is None:
        return True
    return compare_answers(start.answers, tuned.answers, level=0.9).low > 0
