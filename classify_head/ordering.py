"""Change the order of all answers after each of them was found.

The last step of a policy: of a Choice it returns new confidences [Q]. Arrays in, arrays out.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from embed.settings import Settings

from .label_scores import Choice

Floats = NDArray[np.float64]


class KeepOrder(Settings):
    """Leave the confidences as they are."""

    name: Literal["none"] = "none"

    def __call__(self, choice: Choice) -> Floats:
        """Return the confidences [Q]."""
        return choice.confidences


class FrequentLast(Settings):
    """Put labels that are guessed too often at the end: confidence = -count.

    Such a label mostly catches distractors. Transductive: it looks at the guesses of all queries,
    so it is for whole test sets, and the same query gets another confidence in another company.
    Guesses count whether or not they were rejected.

    Source: third place of the 2019 Google Landmark Recognition challenge, ban_distractor_lids of
    exp/submit_recognition.py.
    """

    name: Literal["frequent-label"] = "frequent-label"
    above: int = Field(30, ge=1)  # guesses

    def __call__(self, choice: Choice) -> Floats:
        """Return the confidences [Q]."""
        _, places, counts = np.unique(choice.labels, return_inverse=True, return_counts=True)
        count = counts[places]
        return np.where((count > self.above) & (choice.labels >= 0), -count, choice.confidences)


Order = Annotated[KeepOrder | FrequentLast, Field(discriminator="name")]
