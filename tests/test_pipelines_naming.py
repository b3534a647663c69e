"""Ids and names come of any file name: good for files and tables, the same in any spelling."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.printable import printable
from pipelines.datasets.naming import MAX_ID, is_text, make_id, name_landmark, spellings

COMPOSED, DECOMPOSED = "Caf\xe9", "Cafe\u0301"


@pytest.mark.parametrize(
    ("text", "image_id"),
    [
        ("tower-p0", "tower-p0"),
        ("Köln, Dom", "Köln, Dom"),
        (DECOMPOSED, COMPOSED),
        ("a\\b-li\nne\x1b", "a_b-li_ne_"),
        (".hidden", "_hidden"),
        ("é" * 100, "é" * 100),
    ],
)
def test_an_id_is_the_text_but_for_what_no_file_name_can_have(text: str, image_id: str) -> None:
    assert make_id(text) == image_id


def test_long_ids_are_cut_between_characters_and_differ_by_a_hash() -> None:
    one, two = make_id("é" * 140 + "1"), make_id("é" * 140 + "2")
    assert one.startswith("é" * 95 + "-") and two.startswith("é" * 95 + "-") and one != two


@given(st.text().filter(bool) | st.binary(min_size=1, max_size=300).map(os.fsdecode))
def test_any_text_makes_a_usable_id(text: str) -> None:
    image_id = make_id(text)
    assert 0 < len(image_id.encode()) <= MAX_ID
    assert not {*image_id} & {*"/\\\0\n\r"} and image_id[0] != "."
    assert printable(image_id) == image_id == unicodedata.normalize("NFC", image_id)
    assert make_id(image_id) == image_id


def test_an_id_fits_a_file_name_whatever_is_added() -> None:
    """A suffix, the mark of a variant, and what `writing` adds for a process of seven digits."""
    assert MAX_ID + len("~99999.jfif") + len(".4194304.tmp.jfif") + 1 < 255


def test_names_of_landmarks_are_compared_in_one_spelling() -> None:
    assert name_landmark(DECOMPOSED) == name_landmark(COMPOSED) == COMPOSED
    assert name_landmark("new\nline\x1b[31m") == "new line [31m"


def test_all_spellings_are_looked_for_the_one_given_first() -> None:
    assert spellings("tower") == ("tower",)
    assert spellings(COMPOSED) == (COMPOSED, DECOMPOSED)
    assert spellings(DECOMPOSED) == (DECOMPOSED, COMPOSED)


def test_bytes_that_are_no_utf8_are_no_text() -> None:
    assert is_text("caf\xe9") and not is_text(os.fsdecode(b"caf\xe9"))
