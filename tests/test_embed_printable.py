"""Any text becomes one line that a terminal shows as it stands and UTF-8 can encode."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Köln, Dom 大阪 \U0001f5fc", "Köln, Dom 大阪 \U0001f5fc"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg"),
        ("\ud83d", "\\ud83d"),
        ("new\nline\ttab\r", "new line tab "),
        ("\x1b]0;title\x07\x9b31m\x7f", " ]0;title  31m "),
        ("a\u2028b\u2029c\u202ed\u2066e", "a b c d e"),
    ],
)
def test_what_cannot_be_shown_is_escaped_or_a_space(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)) | st.binary().map(os.fsdecode))
def test_any_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert printable(shown) == shown
