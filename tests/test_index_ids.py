"""Ids of rows against a Python dict: found, added, removed, repeated."""

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.columns import to_texts
from embed.errors import InputError
from index import ids as module
from index.ids import IdTable, RepeatedIdError, hash_text, hash_texts

TEXTS = st.lists(st.text(max_size=9), unique=True, max_size=30)


@given(st.lists(st.text(max_size=20), max_size=20), st.integers(0, 5))
def test_one_text_hashes_as_among_others_of_any_part_of_an_array(
    texts: list[str], start: int
) -> None:
    assert hash_texts(to_texts(texts)[start:]).tolist() == list(map(hash_text, texts[start:]))


@settings(max_examples=150)
@given(TEXTS, TEXTS, st.randoms(use_true_random=False), st.booleans())
def test_a_changed_table_finds_what_a_dict_finds(
    first: list[str], late: list[str], random: Random, collide: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if collide:  # ids of one hash are told apart
            patch.setattr(module, "hash_texts", lambda texts: hash_texts(texts) % np.uint64(3))
            patch.setattr(module, "hash_text", lambda text: hash_text(text) % 3)
        table = IdTable.build(first)
        assert table.rows_of([*first, "not there"]).tolist() == [*range(len(first)), -1]
        again = [row for row, text in enumerate(first) if text in late]
        removed = np.zeros(len(first) + len(late), dtype=np.bool_)
        removed[again] = True
        removed[[row for row in range(len(removed)) if random.random() < 0.3]] = True
        changed = table.with_changes(IdTable.build(late), removed)
        known = {text: row for row, text in enumerate([*first, *late]) if not removed[row]}
        asked = [*first, *late, "not there"]
        assert changed.rows_of(asked).tolist() == [known.get(text, -1) for text in asked]
        assert [changed.row_of(text) for text in asked] == [known.get(text, -1) for text in asked]
        assert [changed.image_id(row) for row in range(len(removed))] == [*first, *late]
        rows = [row for row in range(len(removed)) if random.random() < 0.7]
        assert changed.ids(rows).to_pylist() == [[*first, *late][row] for row in rows]
        assert len(changed) == len(first) + len(late)
        assert table.rows_of(first).tolist() == list(range(len(first)))  # as it was


def test_an_id_that_comes_twice_is_refused_with_its_rows() -> None:
    with pytest.raises(RepeatedIdError, match="two rows are of image 'b'; name each") as caught:
        IdTable.build(["a", "b", "c", "b"])
    assert caught.value.rows == (1, 3)
    table = IdTable.build(["a", "b"])
    with pytest.raises(InputError, match=r"image 'a'.* or remove the one that is there before"):
        table.with_changes(IdTable.build(["a"]), np.zeros(3, dtype=np.bool_))
    removed = np.array([True, False, False])
    assert table.with_changes(IdTable.build(["a"]), removed).rows_of(["a"]).tolist() == [2]


def test_a_table_is_changed_once_and_by_as_many_flags_as_rows() -> None:
    table, none = IdTable.build(["a"]), IdTable.build([])
    changed = table.with_changes(none, np.array([True]))
    with pytest.raises(ValueError, match="give all changes at once"):
        changed.with_changes(none, np.array([False]))
    with pytest.raises(ValueError, match=r"removed has shape \(2,\), want \[1\]"):
        table.with_changes(none, np.zeros(2, dtype=np.bool_))


def test_columns_of_any_kind_are_taken() -> None:
    for ids in (pa.array(["x", "yy"]), pa.chunked_array([["x"], ["yy"]]), iter(["x", "yy"])):
        assert IdTable.build(ids).rows_of(pa.array(["yy"])).tolist() == [1]
