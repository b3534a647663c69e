"""Labels that are guessed too often go to the end."""

import numpy as np

from classify_head.label_scores import Choice
from classify_head.ordering import FrequentLast, KeepOrder


def test_a_label_guessed_more_than_30_times_gets_minus_its_count() -> None:
    labels = np.array([7] * 31 + [3] * 30 + [-1] * 40)
    confidences = np.where(labels >= 0, 0.5, 0.0)
    found = FrequentLast()(Choice(labels, confidences))
    assert found.tolist() == [-31.0] * 31 + [0.5] * 30 + [0.0] * 40
    assert KeepOrder()(Choice(labels, confidences)).tolist() == confidences.tolist()


def test_no_query_has_no_order() -> None:
    nothing = Choice(np.empty(0, np.int64), np.empty(0))
    assert FrequentLast()(nothing).shape == (0,)
