"""Pairs of close hashes: those that comparing all with all finds, and no explosion in crowds."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.datasets.checking import hash_pairs
from pipelines.datasets.checking.hash_pairs import (
    MAX_BUCKET,
    MAX_PARTNERS,
    Hashes,
    HashPairs,
    find_close,
)


def flip(hashes: Hashes, times: int, rng: np.random.Generator) -> Hashes:
    """Change one random bit of each hash so many times."""
    for _ in range(times):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64))
    return hashes


def mixed_hashes(count: int, seed: int) -> Hashes:
    """Return random hashes, half of them copies with up to 12 other bits, in random order."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**64, count // 2, dtype=np.uint64)
    parts = np.array_split(base, 6)
    copies = [flip(part, 2 * times + 2, rng) for times, part in enumerate(parts)]
    return rng.permutation(np.concatenate([base, *copies]))


def triples(pairs: HashPairs) -> list[tuple[int, int, int]]:
    columns = (pairs.later, pairs.first, pairs.distance)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def compare_all(hashes: Hashes, most: int) -> list[tuple[int, int, int]]:
    """Compare each hash with all before it, one by one."""
    values = hashes.tolist()
    return [
        (later, first, (values[first] ^ values[later]).bit_count())
        for later in range(len(values))
        for first in range(later)
        if (values[first] ^ values[later]).bit_count() <= most
    ]


@pytest.mark.parametrize("few", [0, 10_000])  # by looking up, by comparing all with all
@pytest.mark.parametrize("most", [0, 1, 2, 4, 10, 11])
def test_all_close_pairs_are_found_and_no_other(
    most: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_pairs, "FEW", few)
    hashes = mixed_hashes(400, most)
    expected = compare_all(hashes, most)
    assert triples(find_close(hashes, most)) == expected
    assert most < 2 or len(expected) > 10


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.sampled_from([0, 3, 5]), st.data())
def test_any_hashes_are_looked_up_as_they_are_compared(
    values: list[int], most: int, data: st.DataObject
) -> None:
    near = [value ^ (1 << data.draw(st.integers(0, 63))) for value in values]
    hashes = np.array(values + near, dtype=np.uint64)
    with mock.patch.object(hash_pairs, "FEW", 0):
        assert triples(find_close(hashes, most)) == compare_all(hashes, most)


@pytest.mark.parametrize("few", [0, 10_000])
@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_make_no_pair(
    count: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_pairs, "FEW", few)
    assert len(find_close(np.zeros(count, dtype=np.uint64), 10)) == 0


def test_a_thousand_of_one_hash_are_paired_with_the_first_of_them() -> None:
    pairs = find_close(np.full(hash_pairs.FEW + 1, 2**63 + 5, dtype=np.uint64), 10)
    assert (pairs.distance == 0).all()
    assert set(pairs.first.tolist()) == set(range(MAX_PARTNERS))
    assert np.bincount(pairs.later).max() == MAX_PARTNERS


def test_a_crowd_stays_together_with_pairs_in_proportion_to_it() -> None:
    rng = np.random.default_rng(0)
    count = 3000
    crowd = flip(np.full(count, 2**40 + 3, dtype=np.uint64), 3, rng)
    pairs = find_close(crowd, 10)
    assert len(pairs) <= count * (MAX_BUCKET + MAX_PARTNERS)
    graph = coo_array((np.ones(len(pairs)), (pairs.first, pairs.later)), shape=(count, count))
    assert connected_components(graph, directed=False)[0] == 1


@pytest.mark.parametrize("most", [-1, 12])
def test_a_distance_that_cannot_be_looked_up_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"max_distance is {most} bits; 0 to 11"):
        find_close(np.zeros(2, dtype=np.uint64), most)
