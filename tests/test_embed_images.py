"""Images are batched by their shapes: none is lost, few wait, squares come as they are loaded."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from embed.failure import Failure
from embed.images import Item, batch_shapes, collate

SHAPES = [(32, 32), (32, 64), (64, 32), (32, 96)]


def make_items(count: int, shapes: int, seed: int = 0) -> list[Item]:
    """Return items of shapes drawn at random, valued by position modulo 200, and failures."""
    rng = np.random.default_rng(seed)
    items: list[Item] = []
    for position in range(count):
        height, width = SHAPES[rng.integers(shapes)]
        image = torch.full((3, height, width), position % 200, dtype=torch.uint8)
        items.append(Failure(position, "empty", "") if rng.random() < 0.2 else (position, image))
    return items


@pytest.mark.parametrize(("size", "most"), [(1, 0), (4, 0), (4, 8), (3, 5), (64, 256)])
@pytest.mark.parametrize("shapes", [1, 2, 4])
def test_each_image_is_in_one_batch_of_its_shape(size: int, most: int, shapes: int) -> None:
    items = make_items(60, shapes)
    found = list(batch_shapes(items, size, most))
    positions = [position for batch in found for position in batch.positions]
    failures = [failure for batch in found for failure in batch.failures]
    assert sorted(positions + [failure.position for failure in failures]) == [*range(60)]
    for batch in found:
        assert len(batch.positions) == len(batch.images) <= size
        for position, image in zip(batch.positions, batch.images, strict=True):
            item = items[position]
            assert isinstance(item, tuple) and torch.equal(item[1], image)


def test_no_more_images_wait_than_may() -> None:
    size, most, taken = 4, 8, 0

    def count() -> Iterator[Item]:
        nonlocal taken
        for item in make_items(200, 4):
            taken += not isinstance(item, Failure)
            yield item

    waited = []
    for batch in batch_shapes(count(), size, most):
        waited.append(taken)
        taken -= len(batch.positions)
    assert taken == 0 and max(waited) == most + 1


def test_most_batches_of_few_shapes_are_full() -> None:
    found = list(batch_shapes(make_items(400, 4), 8, 32))
    assert np.mean([len(batch.positions) == 8 for batch in found if batch.positions]) > 0.8


@pytest.mark.parametrize("size", [1, 4, 7])
def test_squares_are_batched_as_they_were_loaded(size: int) -> None:
    items = make_items(30, 1)
    read = [item for item in items if not isinstance(item, Failure)]
    found = [batch for batch in batch_shapes(items, size, size) if batch.positions]
    for start, batch in zip(range(0, len(read), size), found, strict=True):
        expected = collate(read[start : start + size])
        assert batch.positions == expected.positions
        assert torch.equal(batch.images, expected.images)


def test_failures_alone_are_a_batch_without_images() -> None:
    failures = [Failure(position, "empty", "") for position in range(3)]
    (batch,) = batch_shapes(failures, 2, 2)
    assert (batch.positions, batch.failures) == ((), tuple(failures))
