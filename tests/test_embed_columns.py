"""Places of ids: the same by texts of Python and of Arrow."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from embed.columns import find_places

Texts = st.lists(st.text(max_size=3))


@given(Texts, st.lists(st.text(max_size=3), unique=True))
def test_the_place_of_each_text_is_found(column: list[str], values: list[str]) -> None:
    place = {value: number for number, value in enumerate(values)}
    expected = [place.get(text, -1) for text in column]
    texts = pa.chunked_array([column[:2], column[2:]], pa.string())
    known = pa.chunked_array([values[:1], values[1:]], pa.string())
    assert find_places(texts, values).tolist() == expected
    assert find_places(texts, known).tolist() == expected
