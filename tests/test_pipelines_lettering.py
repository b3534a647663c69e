"""Names in pictures: every script is drawn or spelled out, in the width that there is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines import lettering
from pipelines.lettering import measure_line, spell, write_line


@pytest.fixture(autouse=True)
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no font be installed, whatever this machine has."""
    monkeypatch.setattr(lettering, "_installed_fonts", lambda: ())
    lettering._find_font.cache_clear()
    yield
    lettering._find_font.cache_clear()


def write(text: str, width: float | None = None) -> NDArray[np.uint8]:
    image = Image.new("L", (900, 40), 255)
    write_line(ImageDraw.Draw(image), (5, 20), text, 16, 0, width=width)  # type: ignore[arg-type]
    return np.asarray(image)


def last_column(drawn: NDArray[np.uint8]) -> int:
    return int(np.flatnonzero(drawn.min(axis=0) < 128).max())


@pytest.mark.parametrize("text", ["Café", "naïve", "Ελλάδα", "Москва", "Ångström", "Łódź"])
def test_latin_greek_and_cyrillic_letters_are_drawn(text: str) -> None:
    box = write("\ufffe")  # no character: were it drawn, it would be the box
    assert spell(text) == text
    shapes = [write(letter).tobytes() for letter in dict.fromkeys(text)]
    assert len(set(shapes)) == len(shapes)
    assert box.tobytes() not in shapes


def test_what_no_font_has_is_spelled_out() -> None:
    assert spell("naïve 照片") == "naïve \\u7167\\u7247"
    assert np.array_equal(write("naïve 照片"), write("naïve \\u7167\\u7247"))
    assert spell("\U000f0000x") == "\\U000f0000x"  # of private use: no font of ours has it


def test_another_installed_font_draws_what_ours_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = write("ab 照")
    fallback = shutil.copy(lettering._own_font(), tmp_path / "other.ttf")
    (tmp_path / "broken.ttf").write_text("no font")
    installed = (str(tmp_path / "broken.ttf"), str(fallback))
    monkeypatch.setattr(lettering, "_installed_fonts", lambda: installed)
    list_characters = lettering._list_characters

    def pretend(path: str) -> frozenset[int]:
        return list_characters(path) | ({ord("照")} if path == str(fallback) else set())

    monkeypatch.setattr(lettering, "_list_characters", pretend)
    lettering._find_font.cache_clear()
    drawn = write("ab 照")
    assert last_column(drawn) < last_column(spelled)  # one character wide, by that font


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\x00b", "a\x1bb", "a\u2028b"])
def test_control_characters_are_spaces(text: str) -> None:
    assert np.array_equal(write(text), write("a b"))


def test_bytes_that_are_no_text_are_spelled_out() -> None:
    assert np.array_equal(write("a\udce9"), write("a\\xe9"))


@pytest.mark.parametrize("text", ["W" * 500, "照" * 50, "i" * 9000, "ab. cd. ef. gh. ij."])
def test_a_long_name_is_cut_to_its_width(text: str) -> None:
    drawn = write(text, 100)
    assert last_column(drawn) <= 5 + 100
    assert measure_line("ok", 16) < 100
    assert np.array_equal(write("ok", 100), write("ok"))
