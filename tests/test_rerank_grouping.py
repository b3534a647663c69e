"""Groups of photos by verified pairs: what belongs together, and what one pair may not chain."""

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.errors import InputError
from rerank.grouping import (
    ALONE,
    GroupingSettings,
    Pairs,
    group_photos,
    merge_pairs,
    mutual_neighbors,
)

Ints = NDArray[np.int64]


def make_pairs(listed: dict[tuple[int, int], int]) -> Pairs:
    rows = np.array(sorted(listed), dtype=np.int64).reshape(-1, 2)
    inliers = np.array([listed[first, second] for first, second in rows.tolist()], dtype=np.int64)
    return Pairs(rows[:, 0], rows[:, 1], inliers)


def complete(members: range, inliers: int) -> dict[tuple[int, int], int]:
    return {(a, b): inliers for a in members for b in members if a < b}


def find_groups(count: int, listed: dict[tuple[int, int], int], min_photos: int = 2) -> list[int]:
    settings = GroupingSettings(min_photos=min_photos)
    group = group_photos(np.arange(count), make_pairs(listed), settings).group
    return [int(number) for number in group]


def test_mutual_neighbors_are_those_that_a_loop_finds() -> None:
    rng = np.random.default_rng(0)
    neighbors = np.array([rng.permutation(30)[:6] for _ in range(30)])
    neighbors[rng.random(neighbors.shape) < 0.1] = -1
    expected = [
        [a, b]
        for a in range(30)
        for b in range(a + 1, 30)
        if b in neighbors[a] and a in neighbors[b]
    ]
    assert mutual_neighbors(neighbors).tolist() == expected
    assert mutual_neighbors(np.empty((0, 3), np.int64)).shape == (0, 2)
    assert mutual_neighbors(np.array([[0, -1]])).shape == (0, 2)


def test_photos_of_one_thing_are_a_group_and_others_stay_apart() -> None:
    listed = complete(range(0, 4), 50) | complete(range(4, 7), 40) | {(6, 7): 8, (0, 7): 29}
    assert find_groups(8, listed) == [0, 0, 0, 0, 1, 1, 1, ALONE]


def test_nothing_verified_is_no_group() -> None:
    assert find_groups(3, {}) == [ALONE] * 3
    assert find_groups(3, complete(range(3), 29)) == [ALONE] * 3
    assert find_groups(1, {}) == [ALONE]


def test_one_pair_does_not_chain_two_groups_that_were_compared_throughout() -> None:
    between = {(a, b): 3 for a in range(5) for b in range(5, 10)}
    listed = complete(range(5), 60) | complete(range(5, 10), 60) | between | {(4, 5): 45}
    assert find_groups(10, listed) == [0] * 5 + [1] * 5
    # Nor does one that is the strongest of all: it takes its photo with it, at most.
    stronger = find_groups(10, listed | {(4, 5): 500})
    assert sorted(np.bincount(stronger).tolist()) in ([2, 4, 4], [4, 6])


def test_views_around_a_thing_are_one_group_though_its_ends_are_not_neighbours() -> None:
    chain = {(row, row + 1): 50 for row in range(9)} | {(row, row + 2): 35 for row in range(8)}
    assert find_groups(10, chain) == [0] * 10


def test_a_group_does_not_depend_on_the_order_of_the_photos() -> None:
    rng = np.random.default_rng(1)
    count = 40
    listed = {
        (a, b): int(rng.integers(30, 10_000)) if a // 8 == b // 8 else int(rng.integers(0, 32))
        for a in range(count)
        for b in range(a + 1, count)
        if rng.random() < 0.6
    }
    groups = np.array(find_groups(count, listed))
    order = rng.permutation(count)
    moved = {tuple(sorted((int(order[a]), int(order[b])))): n for (a, b), n in listed.items()}
    again = np.array(find_groups(count, {(a, b): n for (a, b), n in moved.items()}))
    same = groups[:, None] == groups
    assert ((again[order][:, None] == again[order]) == same).all()


def test_a_photo_alone_joins_where_several_are_like_it_though_no_pair_is_verified() -> None:
    group = complete(range(4), 50)
    assert find_groups(5, group | {(0, 4): 12, (1, 4): 9, (2, 4): 3}) == [0] * 5
    assert find_groups(5, group | {(0, 4): 29}) == [0] * 4 + [ALONE]  # one is no several
    few = {(0, 4): 12, (1, 4): 9, (2, 4): 3, (3, 4): 0}
    assert find_groups(5, group | few) == [0] * 5
    assert find_groups(5, group | few | {(1, 4): 6}) == [0] * 4 + [ALONE]  # as chance gives
    both = complete(range(4, 8), 50) | {(a, 8): 10 + a for a in range(8)}
    assert find_groups(9, group | both)[8] == find_groups(9, group | both)[7]


def test_near_duplicates_are_in_the_group_of_their_original() -> None:
    originals = np.array([0, 1, 0, 3, 3])
    found = group_photos(originals, make_pairs({(0, 1): 40}), GroupingSettings())
    assert found.group.tolist() == [0, 0, 0, 1, 1]
    assert found.joined_to.tolist() == [1, 0, 0, 4, 3]
    assert found.inliers.tolist() == [40, 40, ALONE, ALONE, ALONE]


def test_small_groups_are_none_and_the_largest_comes_first() -> None:
    listed = {(0, 1): 90} | complete(range(2, 5), 40) | complete(range(5, 9), 31)
    assert find_groups(9, listed) == [2, 2, 1, 1, 1, 0, 0, 0, 0]
    assert find_groups(9, listed, min_photos=3) == [ALONE] * 2 + [1] * 3 + [0] * 4


def test_merged_labels_are_those_of_connected_components_where_all_compared_agree() -> None:
    pairs = make_pairs({(0, 3): 40, (3, 5): 40, (1, 2): 40})
    label = merge_pairs(6, pairs, np.ones(3, dtype=bool))
    same = label[:, None] == label
    for group in ([0, 3, 5], [1, 2], [4]):
        assert np.flatnonzero(same[group[0]]).tolist() == group


@pytest.mark.parametrize(("inliers", "photos"), [(6, 2), (0, 2), (30, 1), (30, 0)])
def test_settings_that_group_by_chance_or_alone_are_refused(inliers: int, photos: int) -> None:
    with pytest.raises(InputError, match=r"min_(inliers|photos) is"):
        GroupingSettings(inliers, photos)
