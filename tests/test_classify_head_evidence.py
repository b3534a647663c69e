"""Evidence as if some landmarks were not known."""

import numpy as np

from tests.evidence import imagine


def test_without_landmarks_neither_neighbours_nor_head_know_them() -> None:
    evidence, _ = imagine(20, seed=1)
    out = np.array([2, 5, 11])
    left = evidence.without_landmarks(out)
    for name, values in (("labels", "similarities"), ("head_labels", "head_scores")):
        for query in range(len(evidence)):
            labels, scores = evidence.arrays[name][query], evidence.arrays[values][query]
            kept = ~np.isin(labels, out)
            count = int(kept.sum())
            assert left.arrays[name][query, :count].tolist() == labels[kept].tolist()
            assert left.arrays[values][query, :count].tolist() == scores[kept].tolist()
            assert (left.arrays[name][query, count:] == -1).all()


def test_without_no_landmark_nothing_changes() -> None:
    evidence, _ = imagine(5, seed=2)
    left = evidence.without_landmarks(np.empty(0, dtype=np.int64))
    for name, array in evidence.arrays.items():
        np.testing.assert_array_equal(left.arrays[name], array)
