"""Properties of the validation split and of the order of an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_metric_learning.utils import common_functions

from embed.sampling import EpochBatches, epoch_order, split_validation

LABELS = np.repeat(np.arange(6), (1, 2, 3, 5, 8, 11))


def label_arrays() -> st.SearchStrategy[NDArray[np.int64]]:
    values = st.lists(st.integers(0, 5), min_size=1, max_size=60)
    return values.map(lambda drawn: np.array(drawn, dtype=np.int64))


@given(label_arrays(), st.floats(0, 0.99), st.integers(0, 9))
def test_the_split_is_a_partition_that_leaves_two_of_a_class(
    labels: NDArray[np.int64], share: float, seed: int
) -> None:
    kept, held_out = split_validation(labels, share, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all()
    for label in np.unique(labels):
        total, out = (labels == label).sum(), (labels[held_out] == label).sum()
        if total <= 2:
            assert out == 0
        else:
            assert total - out >= 2
            assert out == total - 2 or abs(out - total * share) <= 0.5 + 1e-9


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (split_validation(LABELS, 0.4, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_share_of_0_holds_nothing_out() -> None:
    kept, held_out = split_validation(LABELS, 0.0, 0)
    assert len(kept) == len(LABELS) and held_out.dtype == kept.dtype and not len(held_out)


@settings(deadline=None)
@given(label_arrays(), st.data())
def test_groups_share_a_class_and_batches_are_whole(
    labels: NDArray[np.int64], data: st.DataObject
) -> None:
    present = len(np.unique(labels))
    classes = data.draw(st.integers(1, present))
    per_class = data.draw(st.integers(2, 5))
    order = epoch_order(labels, classes, per_class, seed=3, epoch=0)
    assert len(order) and len(order) % (classes * per_class) == 0
    assert order.min() >= 0 and order.max() < len(labels)
    for batch in labels[order].reshape(-1, classes, per_class):
        assert (batch == batch[:, :1]).all()
        if len(order) > present * per_class:
            continue  # the library deals the classes anew, so that a batch may meet one twice
        assert len(np.unique(batch)) == classes
    for group in order.reshape(-1, per_class):
        if (labels == labels[group[0]]).sum() >= per_class:
            assert len(set(group.tolist())) == per_class  # repeats only where it must


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_order(LABELS, 3, 2, seed=1, epoch=0)
    np.random.seed(99)  # noqa: NPY002 - the global generator must have no say
    np.testing.assert_array_equal(epoch_order(LABELS, 3, 2, seed=1, epoch=0), first)
    for seed, epoch in ((1, 1), (2, 0), (0, 1)):
        assert not np.array_equal(epoch_order(LABELS, 3, 2, seed, epoch), first)


def test_the_generators_of_library_and_numpy_are_left_alone() -> None:
    theirs = common_functions.NUMPY_RANDOM
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    epoch_order(LABELS, 3, 2, seed=1, epoch=0)
    assert common_functions.NUMPY_RANDOM is theirs
    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
    np.testing.assert_array_equal(after, before)


def test_the_librarys_generator_comes_back_after_an_error() -> None:
    theirs = common_functions.NUMPY_RANDOM
    with pytest.raises(AssertionError):
        epoch_order(LABELS, 7, 2, seed=1, epoch=0)  # more classes than there are
    assert common_functions.NUMPY_RANDOM is theirs


def test_classes_are_equally_likely_whatever_their_size() -> None:
    labels = np.repeat(np.arange(4), (2, 10, 30, 90))
    orders = [epoch_order(labels, 2, 2, seed=0, epoch=epoch) for epoch in range(20)]
    counts = np.bincount(labels[np.concatenate(orders)])
    assert counts.max() - counts.min() <= 0.15 * counts.mean()


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 4))
def test_processes_share_the_batches_of_an_epoch_equally(
    length: int, batch_size: int, world: int
) -> None:
    order = np.arange(100, 100 + length)
    shares = [EpochBatches(order, batch_size, 5, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert sum(map(len, shares)) == length // batch_size // world * world
    keys = [key for share in shares for batch in share for key in batch]
    places = [place for _, _, place in keys]
    assert sorted(places) == list(range(len(keys)))  # no place twice, none left out
    assert all((position, epoch) == (order[place], 5) for position, epoch, place in keys)
    assert all(len(batch) == batch_size for share in shares for batch in share)


def test_together_the_processes_see_what_one_would_see() -> None:
    order = np.arange(24)
    alone = list(EpochBatches(order, 3, 0))
    pair = [list(EpochBatches(order, 3, 0, rank, 2)) for rank in (0, 1)]
    assert [batch for step in zip(*pair, strict=True) for batch in step] == alone
