"""Rows of an index against plain lists, and what becomes of a damaged file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.errors import InputError, MissingFileError
from index.rows import RowTable


@settings(max_examples=100)
@given(
    st.lists(st.integers(-1, 6), max_size=25),
    st.lists(st.integers(-1, 6), max_size=8),
    st.integers(0, 10**6),
)
def test_landmarks_are_those_of_the_rows_that_are_there(
    first: list[int], late: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = [f"image {row}" for row in range(len(first) + len(late))]
    removed = rng.random(len(names)) < 0.3
    labels = np.array([*first, *late], dtype=np.int64)
    table = RowTable.build(names[: len(first)], labels[: len(first)]).with_changes(
        names[len(first) :], labels[len(first) :], removed
    )
    assert len(table) == len(names) and table.list_ids() == tuple(names)
    assert table.landmarks.tolist() == sorted(set(labels[~removed].tolist()))
    sizes = [int(((labels == label) & ~removed).sum()) for label in range(-1, 9)]
    assert table.class_sizes(np.arange(-1, 9)).tolist() == sizes
    assert table.largest_class == max(sizes)
    for label in range(-1, 9):
        expected = np.flatnonzero((labels == label) & ~removed)
        np.testing.assert_array_equal(table.rows_of_landmark(label), expected)
    rows = np.array([[-1, 0], [len(names) - 1, -1]])
    if names:
        assert table.labels(rows).tolist() == [[-1, labels[0]], [labels[-1], -1]]
        assert table.image_id(len(names) - 1) == names[-1]
        assert table.row_of(names[0]) == (-1 if removed[0] else 0)


def test_a_saved_table_is_mapped_and_the_same_bytes_again(tmp_path: Path) -> None:
    labels = np.array([3, 1, 3, 2])
    table = RowTable.build(["b", "ä", "", "c d"], labels)
    table.save(tmp_path / "rows.arrow")
    table.save(tmp_path / "again.arrow")
    assert (tmp_path / "rows.arrow").read_bytes() == (tmp_path / "again.arrow").read_bytes()
    found = RowTable.load(tmp_path / "rows.arrow")
    assert found.list_ids() == ("b", "ä", "", "c d")
    assert found.landmark_ids.tolist() == labels.tolist()
    assert not found.landmark_ids.flags.owndata
    assert found.rows_of(["c d", "x", ""]).tolist() == [3, -1, 2]
    assert found.rows_of_landmark(3).tolist() == [0, 2]


@pytest.mark.parametrize("keep", [0, 7, 300, -20])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "rows.arrow"
    RowTable.build(["a", "b"], np.array([1, 2])).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"rows\.arrow is no table of rows .*index --redo"):
        RowTable.load(path)
    with pytest.raises(MissingFileError, match="run `cairn index`"):
        RowTable.load(tmp_path / "none.arrow")


def test_another_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 image ids for landmark ids \(1,\)"):
        RowTable.build(["a", "b"], np.array([1]))
