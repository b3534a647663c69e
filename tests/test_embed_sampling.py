"""Properties of the validation split and of the order of an epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pytorch_metric_learning.samplers import MPerClassSampler
from scipy import stats

from embed.sampling import EXPONENTS, EpochBatches, epoch_order, split_validation

LABELS = np.repeat(np.arange(6), (1, 2, 3, 5, 8, 11))
SAMPLERS = ("m-per-class", *EXPONENTS)


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


def test_the_split_of_models_that_are_there_does_not_change() -> None:
    labels = np.repeat((3, 1, 2), (5, 2, 9))
    # split_validation of commit ae21dd9: [int(row) for row in split_validation(labels, 0.4, 7)[1]]
    assert split_validation(labels, 0.4, 7)[1].tolist() == [3, 4, 7, 8, 14, 15]


def test_a_share_of_0_holds_nothing_out() -> None:
    kept, held_out = split_validation(LABELS, 0.0, 0)
    assert len(kept) == len(LABELS) and held_out.dtype == kept.dtype and not len(held_out)


def order_of(labels: NDArray[np.int64], sampler: str, **changes: int) -> NDArray[np.int64]:
    given = {"batch_size": 6, "per_class": 2, "seed": 1, "epoch": 0} | changes
    return epoch_order(labels, sampler, **given)


@given(label_arrays(), st.sampled_from(SAMPLERS), st.data())
def test_groups_share_a_class_and_batches_are_whole(
    labels: NDArray[np.int64], sampler: str, data: st.DataObject
) -> None:
    classes = data.draw(st.integers(1, len(np.unique(labels))))
    per_class = data.draw(st.integers(1, 5))
    batch = classes * per_class
    order = order_of(labels, sampler, batch_size=batch, per_class=per_class)
    assert len(order) == max(len(labels) // batch, 1) * batch
    assert order.min() >= 0 and order.max() < len(labels)
    for group in order.reshape(-1, per_class):
        size = (labels == labels[group[0]]).sum()
        assert (labels[group] == labels[group[0]]).all()
        if sampler != "m-per-class" or size >= per_class:
            assert len(set(group.tolist())) == min(size, per_class)  # repeats only where it must
    if sampler == "m-per-class":
        for row in labels[order].reshape(-1, classes, per_class):
            assert len(np.unique(row)) == classes


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_order_depends_on_seed_and_epoch_alone(sampler: str) -> None:
    first = order_of(LABELS, sampler)
    np.random.seed(99)  # noqa: NPY002 - the global generator must have no say
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    np.testing.assert_array_equal(order_of(LABELS, sampler), first)
    after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
    np.testing.assert_array_equal(after, before)
    for seed, epoch in ((1, 1), (2, 0), (0, 1)):
        assert not np.array_equal(order_of(LABELS, sampler, seed=seed, epoch=epoch), first)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_image_is_reached_in_the_long_run(sampler: str) -> None:
    epochs = [order_of(LABELS, sampler, epoch=epoch) for epoch in range(40)]
    assert set(np.concatenate(epochs).tolist()) == set(range(len(LABELS)))


def frequencies(sampler: str, labels: NDArray[np.int64], epochs: int) -> NDArray[np.int64]:
    """Count the groups of each class over some epochs of ours."""
    orders = [order_of(labels, sampler, epoch=epoch)[::2] for epoch in range(epochs)]
    return np.bincount(labels[np.concatenate(orders)])


@pytest.mark.parametrize(
    ("sampler", "weights"),
    [
        ("m-per-class", (1, 1, 1, 1)),
        ("class-balanced", (1, 1, 1, 1)),
        ("square-root", (2, 3, 5, 10)),
        ("uniform", (4, 9, 25, 100)),
    ],
)
def test_classes_are_drawn_as_often_as_the_sampler_says(
    sampler: str, weights: tuple[int, ...]
) -> None:
    labels = np.repeat(np.arange(4), (4, 9, 25, 100))
    found = frequencies(sampler, labels, 30)
    expected = found.sum() * np.array(weights) / sum(weights)
    assert stats.chisquare(found, expected).pvalue > 0.01


def test_m_per_class_has_the_distribution_of_the_library() -> None:
    labels = np.repeat((2, 3, 5, 7, 11), (2, 3, 4, 10, 30))  # a product tells the classes
    np.random.seed(0)  # noqa: NPY002 - where the library draws from
    library = MPerClassSampler(labels, 2, 6, length_before_new_iter=6 * 400)
    theirs = np.fromiter(iter(library), dtype=np.int64)
    ours = np.concatenate([order_of(labels, "m-per-class", epoch=epoch) for epoch in range(50)])
    sets = [labels[rows.reshape(-1, 6)[:, ::2]].prod(axis=1) for rows in (theirs, ours)]
    for one, other in ((theirs, ours), sets):  # images, and which classes meet in a batch
        values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
        halves = np.split(places, [len(one)])
        counts = np.array([np.bincount(half, minlength=len(values)) for half in halves])
        assert stats.chi2_contingency(counts).pvalue > 0.001


@given(label_arrays(), st.sampled_from(sorted(EXPONENTS)), st.integers(1, 4))
def test_a_weighted_epoch_is_off_its_expectation_by_less_than_one(
    labels: NDArray[np.int64], sampler: str, per_class: int
) -> None:
    order = order_of(labels, sampler, batch_size=2 * per_class, per_class=per_class)
    _, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    groups = np.bincount(places[order[::per_class]], minlength=len(sizes))
    weights = sizes ** EXPONENTS[sampler]
    assert (np.abs(groups - groups.sum() * weights / weights.sum()) < 1 + 1e-9).all()
    for label in range(len(sizes)):  # no image a second time before all others of its class
        times = np.bincount(order[places[order] == label], minlength=len(labels))
        assert np.ptp(times[places == label]) <= 1


def test_a_uniform_epoch_of_single_images_is_a_permutation() -> None:
    order = order_of(LABELS, "uniform", batch_size=5, per_class=1)
    assert len(LABELS) % 5 == 0
    assert sorted(order.tolist()) == list(range(len(LABELS)))


def test_what_does_not_fit_into_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="7 classes a batch, but there are 6"):
        order_of(LABELS, "m-per-class", batch_size=14)
    with pytest.raises(ValueError, match="batches of 5 images cannot hold whole groups of 2"):
        order_of(LABELS, "uniform", batch_size=5)


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 4))
def test_processes_share_the_batches_of_an_epoch_equally(
    length: int, batch_size: int, world: int
) -> None:
    order = np.arange(100, 100 + length)
    shares = [EpochBatches(order, batch_size, 5, rank, world) for rank in range(world)]
    assert {len(share) for share in shares} == {length // batch_size}
    keys = [key for share in shares for batch in share for key in batch]
    places = [place for _, _, place in keys]
    assert sorted(places) == list(range(len(keys)))  # no place twice, none left out
    assert all((position, epoch) == (order[place], 5) for position, epoch, place in keys)
    sizes = {len(batch) for share in shares for batch in share}
    assert sizes <= {batch_size // world, -(-batch_size // world)}


def test_together_the_processes_see_what_one_would_see() -> None:
    order = np.arange(24)
    alone = list(EpochBatches(order, 3, 0))
    pair = [list(EpochBatches(order, 3, 0, rank, 2)) for rank in (0, 1)]
    assert [sorted([*one, *other]) for one, other in zip(*pair, strict=True)] == alone
