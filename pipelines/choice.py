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
    """Return the model of the largest GAP, and say which it is, and whether it may be chance.

    There are the model before the training, the best epoch, the last one, and the last one mixed
    with the pretrained weights. A gain that may be chance is kept all the same: held-out photos,
    brothers of those that are searched, are few and say less of what training gains than life
    does, and mixtures bound what it loses. On 31 cartons cut by label the held-out GAP rose by .03,
    within its error, that of the test photos by .25. Where nothing can be asked the best epoch is
    kept.

    Args:
        start: before the training, with the pretrained weights.
        best: after the epoch that judged best alone.
        last: after the last epoch; all three on one device.
        validation: what they are asked.
    """
    candidates = [
        *((best, 1.0), (start, 0.0), (last, 1.0)),
        *((blend(last, start, share), share) for share in SHARES),
    ]
    judged = [validation.answer(model) for model, _ in candidates]
    figures = [validation.figures(each) for each in judged]
    gaps = [each["gap"] for each in figures]
    found = int(np.argmax(gaps))  # of equal ones the first
    model, share = candidates[found]
    kept = f"{share:.0%} of the way from the pretrained weights to the trained ones"
    logger.info(
        "kept: %s; GAP of held-out photos and landmarks %.3f, of the pretrained features %.3f, of "
        "the trained ones %.3f%s",
        *(kept if share else "the pretrained features", gaps[found], gaps[1], gaps[0]),
        "" if is_better(judged[found], judged[1]) or not share else "; the gain may be chance",
    )
    return Choice(model, share, figures[1])


def is_better(tuned: Judged | None, start: Judged | None) -> bool:
    """Tell whether a model's GAP is larger than that of another one by more than chance.

    With 95 % confidence, by a paired bootstrap over the queries.
    """
    if tuned is None or start is None:
        return False
    return compare_answers(start.answers, tuned.answers, level=0.9).low > 0
