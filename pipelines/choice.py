"""Choose what to keep of a training: the trained features, the pretrained ones, or what is between.

Judged by photos of the landmarks trained on and by landmarks that were not, so that what the
network knew before is lost only for something better. Opens the images of the validation alone.
"""

import logging
from dataclasses import dataclass

import numpy as np

from classify_head.comparison import compare_answers
from embed.blend import blend
from embed.model import DescriptorModel

from .validation import Judged, Validation

logger = logging.getLogger(__name__)

SHARES = (0.75, 0.5, 0.25)  # of the trained weights, in mixtures with the pretrained ones


@dataclass(frozen=True, eq=False)
class Choice:
    """The model that is kept."""

    model: DescriptorModel
    share: float  # of the trained weights; 0: it is as it was before the training
    start: dict[str, float]  # the figures of the pretrained features


def choose_model(
    start: DescriptorModel, best: DescriptorModel, last: DescriptorModel, validation: Validation
) -> Choice:
    """Return the model of the largest GAP, if it is better than that before the training.

    Better means by more than chance; else the pretrained features are kept, and it is said. There
    are the best epoch, the last one, and the last one mixed with the pretrained weights.

    Args:
        start: before the training, with the pretrained weights.
        best: after the epoch that judged best alone.
        last: after the last epoch; all three on one device.
        validation: what they are asked.
    """
    before = validation.answer(start)
    first = validation.figures(before)
    candidates = [(best, 1.0), (last, 1.0), *((blend(last, start, s), s) for s in SHARES)]
    judged = [validation.answer(model) for model, _ in candidates]
    gaps = [validation.figures(each)["gap"] for each in judged]
    found = int(np.argmax(gaps))  # of equal ones, and where nothing can be asked, the best epoch
    model, share = candidates[found]
    if is_better(judged[found], before):
        logger.info(
            "kept: %.0f %% of the way from the pretrained weights to the trained ones; GAP of "
            "held-out photos and landmarks %.3f, before the training %.3f",
            *(100 * share, gaps[found], first["gap"]),
        )
        return Choice(model, share, first)
    logger.info(
        "kept: the pretrained features; GAP of held-out photos and landmarks %.3f, after the "
        "training %.3f, which is no better or may be chance",
        *(first["gap"], gaps[found]),
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
