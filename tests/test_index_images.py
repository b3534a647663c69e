"""Search of images with several vectors, against a comparison of all pairs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from index.base import BaseIndex
from index.images import ImageIndex, keep_nearest
from index.neighbors import Neighbors

from .test_index_search import exact_rows, random_rows


def draw(images: int, each: int, seed: int, dim: int = 8) -> NDArray[np.float32]:
    """Return [images, each, dim] vectors whose products no order of sums can change."""
    return exact_rows(images * each, seed, dim).reshape(images, each, dim)


def slow_search(
    images: NDArray[np.float32], queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compare every vector with every other; sort by falling score, then by rising image."""
    rows, scores = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    for query, vectors in enumerate(queries.astype(np.float64)):
        best = [float((vectors @ image.T).max()) for image in images.astype(np.float64)]
        order = sorted(range(len(images)), key=lambda row: (-best[row], row))[:k]
        rows[query, : len(order)], scores[query, : len(order)] = order, np.array(best)[order]
    return rows, scores


@settings(max_examples=80, deadline=None)
@given(
    *(st.integers(1, 40), st.integers(1, 6), st.integers(0, 8), st.integers(1, 6)),
    *(st.integers(1, 60), st.integers(0, 10**6)),
)
def test_images_come_out_as_if_all_pairs_had_been_compared(
    count: int, per_image: int, queries: int, each: int, k: int, seed: int
) -> None:
    images, asked = draw(count, per_image, seed), draw(queries, each, seed + 1)
    index = ImageIndex.build(images)
    found = index.search(asked, k)
    rows, scores = slow_search(images, asked, k)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)
    assert found.rows.dtype == np.int64 and found.scores.dtype == np.float32
    nearest = index.nearest_cosines(asked, k)
    np.testing.assert_array_equal(nearest, scores[:, : min(k, count)])


def test_an_image_whose_regions_fill_the_first_hits_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All twenty vectors of image 1 are nearer than any of the others.
    images = np.tile(np.eye(8, dtype=np.float32)[1], (5, 20, 1))
    images[1], images[3, 7] = np.eye(8)[0], [0.8, 0.6, 0, 0, 0, 0, 0, 0]
    asked = np.eye(8, dtype=np.float32)[None, :1]
    for most in (1, 1 << 22):  # one query at a time, and all together
        monkeypatch.setattr("index.images.MOST_NUMBERS", most)
        found = ImageIndex.build(images).search(np.repeat(asked, 2, axis=0), 4)
        assert found.rows.tolist() == [[1, 3, 0, 2]] * 2
        np.testing.assert_allclose(found.scores[0], [1, 0.8, 0, 0], atol=1e-6)


def test_images_of_one_vector_are_searched_as_ever() -> None:
    images, asked = random_rows(50, seed=0), random_rows(7, seed=1)
    expected = BaseIndex.build(images).search(asked, 9)
    found = ImageIndex.build(images[:, None]).search(asked[:, None], 9)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_the_vectors_of_an_image_are_read_back() -> None:
    images = random_rows(12, seed=2).reshape(4, 3, 16)
    index = ImageIndex.build(images)
    assert len(index) == 4
    np.testing.assert_array_equal(index.whole(np.array([3, 0])), images[[3, 0], 0])
    np.testing.assert_array_equal(index.vectors(np.array([3, 0])), images[[3, 0]])
    assert index.vectors(np.empty(0, np.int64)).shape == (0, 3, 16)


def test_the_best_pair_of_vectors_is_the_one_that_gave_the_score() -> None:
    images, asked = random_rows(12, seed=3).reshape(4, 3, 16), random_rows(2, seed=4)
    index = ImageIndex.build(images)
    found = index.search(asked[None], 4)
    cosines = index.cosines(asked, found.rows[0])
    np.testing.assert_allclose(cosines, found.scores[0], atol=1e-6)
    for row, score in zip(found.rows[0], found.scores[0], strict=True):
        mine, other = index.best_pair(asked, int(row))
        assert float(asked[mine] @ images[row, other]) == pytest.approx(float(score), abs=1e-6)


def test_hits_of_one_image_count_once_by_the_best() -> None:
    found = np.array([[2, 0, 0, 2, 1, -1]])
    scores = np.array([[0.5, 0.25, 0.125, 0.75, 0.25, -np.inf]], np.float32)
    images, best = keep_nearest(found, scores, k=4)
    assert images.tolist() == [[2, 0, 1, -1]]
    assert best.tolist() == [[0.75, 0.25, 0.25, -np.inf]]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_nearest_cosines_are_the_largest(count: int) -> None:
    vectors = random_rows(20, 0)
    index = ImageIndex.build(vectors[:7, None])
    expected = -np.sort(-(vectors @ vectors[:7].T), axis=1)[:, :count]
    np.testing.assert_allclose(index.nearest_cosines(vectors[:, None], count), expected, atol=1e-6)
    assert index.nearest_cosines(vectors[:0, None], count).shape == (0, min(count, 7))


@dataclass(frozen=True, eq=False)
class Living:
    """An index with changes, and all of it as arrays."""

    index: ImageIndex
    vectors: NDArray[np.float32]  # [N, V, dim]
    removed: NDArray[np.bool_]  # [N]


def draw_living(seed: int, count: int, late: int, each: int) -> Living:
    rng = np.random.default_rng(seed)
    vectors = draw(count + late, each, seed)
    removed = rng.random(count + late) < rng.choice([0, 0.3, 0.9])
    index = ImageIndex.build(vectors[:count]).with_changes(vectors[count:], removed)
    return Living(index, vectors, removed)


def slow_choice(
    living: Living, asked: NDArray[np.float32], k: int, left_out: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sort all pairs but those [Q, N] left out, and the removed."""
    rows, scores = np.full((len(asked), k), -1), np.full((len(asked), k), -np.inf)
    for query, vectors in enumerate(asked):
        kept = np.flatnonzero(~living.removed & ~left_out[query])
        if len(kept):
            places, best = slow_search(living.vectors[kept], vectors[None], k)
            rows[query] = np.where(places[0] < 0, -1, kept[places[0]])
            scores[query] = best[0]
    return rows, scores


@settings(max_examples=150, deadline=None)
@given(
    *(st.integers(1, 30), st.integers(0, 12), st.integers(1, 3), st.integers(0, 5)),
    *(st.integers(1, 3), st.integers(1, 50), st.integers(0, 10**6)),
)
def test_what_is_left_out_is_as_if_it_were_not_there(
    count: int, late: int, per_image: int, queries: int, each: int, k: int, seed: int
) -> None:
    living, rng = draw_living(seed, count, late, per_image), np.random.default_rng(seed)
    asked, total = draw(queries, each, seed + 1), count + late
    assert len(living.index) == total and living.index.live == (~living.removed).sum()
    excluded = rng.integers(-1, total, (queries, rng.integers(0, 2 * total)))
    out = (excluded[:, :, None] == np.arange(total)).any(axis=1)
    mask = rng.random(total) < 0.5
    cases = (
        (living.index.search(asked, k), np.zeros_like(out)),
        (living.index.search(asked, k, excluded), out),
        (living.index.search(asked, k, among=mask), np.broadcast_to(~mask, out.shape)),
        (
            living.index.search(asked, k, excluded, rng.permutation(np.flatnonzero(mask))),
            out | ~mask,
        ),
    )
    for found, left_out in cases:
        rows, scores = slow_choice(living, asked, k, left_out)
        np.testing.assert_array_equal(found.rows, rows)
        np.testing.assert_array_equal(found.scores, scores)


@settings(max_examples=80, deadline=None)
@given(
    *(st.integers(1, 30), st.integers(0, 9), st.integers(1, 3), st.integers(0, 4)),
    *(st.integers(1, 3), st.sampled_from([-2, -0.25, 0, 0.5, 1, 2]), st.integers(0, 10**6)),
)
def test_a_radius_holds_all_that_are_as_near(
    count: int, late: int, per_image: int, queries: int, each: int, least: float, seed: int
) -> None:
    living, asked = draw_living(seed, count, late, per_image), draw(queries, each, seed + 1)
    found = living.index.search_radius(asked, least)
    none = np.zeros((queries, count + late), dtype=np.bool_)
    rows, scores = slow_choice(living, asked, count + late, none)
    for query in range(queries):
        near = scores[query] >= max(least, -1.5)
        some = slice(found.starts[query], found.starts[query + 1])
        np.testing.assert_array_equal(found.rows[some], rows[query, near])
        np.testing.assert_array_equal(found.scores[some], scores[query, near])
    assert found.starts[-1] == len(found.rows) == len(found.scores)


@pytest.mark.parametrize("each", [1, 3])
def test_a_cosine_depends_on_nothing_but_the_pair(
    each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches, blocks, threads, and whether an image was added: the same bytes."""
    images = random_rows(400 * each, seed=0, dim=96).reshape(400, each, 96)
    asked = random_rows(30 * each, seed=1, dim=96).reshape(30, each, 96)
    whole = ImageIndex.build(images)
    split = ImageIndex.build(images[:250]).with_changes(images[250:], np.zeros(400, np.bool_))
    expected = whole.search(asked, 20)
    every = np.ones(400, dtype=np.bool_)
    for most in (1, 5000, 1 << 22):
        monkeypatch.setattr("index.images.MOST_NUMBERS", most)
        for threads in (1, 2):
            with threadpool_limits(threads):
                alone = [whole.search(asked[row : row + 1], 20) for row in range(30)]
                together = Neighbors(
                    np.concatenate([part.rows for part in alone]),
                    np.concatenate([part.scores for part in alone]),
                )
                among = whole.search(asked, 20, among=every)
                for found in (together, among, split.search(asked, 20)):
                    np.testing.assert_array_equal(found.rows, expected.rows)
                    np.testing.assert_array_equal(found.scores, expected.scores)
    for query, rows in enumerate(expected.rows):
        np.testing.assert_array_equal(whole.cosines(asked[query], rows), expected.scores[query])
        radius = whole.search_radius(asked[query : query + 1], float(expected.scores[query, -1]))
        np.testing.assert_array_equal(radius.rows, rows)
        np.testing.assert_array_equal(radius.scores, expected.scores[query])


def test_adding_and_removing_again_gives_the_answers_of_before() -> None:
    images, asked = random_rows(90, seed=0), random_rows(9, seed=1)[:, None]
    before = ImageIndex.build(images[:60, None])
    removed = np.arange(90) >= 60
    after = before.with_changes(images[60:, None], removed)
    for one, other in ((before.search(asked, 70), after.search(asked, 70)),):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.scores, other.scores)
    back = after.with_changes(images[:0, None], np.zeros(60, dtype=np.bool_))
    assert back.added is None and back.removed is None and back.base is before.base
    rows = np.array([75, 3, 60])
    np.testing.assert_array_equal(after.vectors(rows), images[rows, None])
    np.testing.assert_array_equal(after.whole(rows), images[rows])


def test_nothing_is_found_where_all_are_removed() -> None:
    images = random_rows(5, seed=0)[:, None]
    gone = ImageIndex.build(images).with_changes(images[:0], np.ones(5, dtype=np.bool_))
    assert (gone.live, len(gone)) == (0, 5)
    assert gone.search(images, 3).rows.tolist() == [[-1] * 3] * 5
    assert gone.nearest_cosines(images, 3).shape == (5, 0)
    assert len(gone.search_radius(images, -1).rows) == 0


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1.0])
def test_vectors_that_are_not_of_length_1_are_refused_wherever_they_come_in(bad: float) -> None:
    images, wrong = random_rows(6, seed=0)[:, None], random_rows(6, seed=0)[:, None]
    wrong[2] = bad
    index = ImageIndex.build(images)
    asks: tuple[Callable[[], object], ...] = (
        lambda: ImageIndex.build(wrong),
        lambda: index.search(wrong, 2),
        lambda: index.search_radius(wrong, 0.5),
        lambda: index.with_changes(wrong, np.zeros(12, dtype=np.bool_)),
    )
    for ask in asks:
        with pytest.raises(ValueError, match=r"embedding 2 has length .*, want 1"):
            ask()


def test_what_does_not_fit_the_index_is_refused_with_what_it_has() -> None:
    images, asked = random_rows(6, seed=0)[:, None], random_rows(2, seed=1)[:, None]
    index, none = ImageIndex.build(images), np.zeros(6, dtype=np.bool_)
    two = random_rows(4, seed=0).reshape(2, 2, 16)
    wrong: dict[str, Callable[[], object]] = {
        r"shape \(2, 1, 8\), want \[Q, U, 16\]; embed": lambda: index.search(asked[..., :8], 1),
        "k is 0, must be at least 1": lambda: index.search(asked, 0),
        r"excluded rows are not all from -1 to 5": lambda: index.search(
            asked, 1, np.array([[6], [0]])
        ),
        r"excluded has shape \(1, 1\), want \[2, E\]": lambda: index.search(
            asked, 1, np.array([[0]])
        ),
        r"among are not all from 0 to 5": lambda: index.search(asked, 1, among=np.array([-1])),
        r"among is \(5,\), want \[6\]": lambda: index.search(asked, 1, among=none[:5]),
        r"vectors \(2, 2, 16\), the index \[N, 1, 16\]": lambda: index.with_changes(two, none),
        r"removed is bool \(5,\), want bool \[6\]": lambda: index.with_changes(
            images[:0], none[:5]
        ),
        r"removed is int64": lambda: index.with_changes(images[:0], np.zeros(6, np.int64)),
        "6 vectors are not of images with 4": lambda: ImageIndex(index.base, 4),
    }
    for match, ask in wrong.items():
        with pytest.raises(ValueError, match=match):
            ask()
