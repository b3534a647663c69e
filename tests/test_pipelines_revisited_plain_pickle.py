"""Pickles of lists and numbers are read; whatever else one holds is refused, and never run."""

import io
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.sources.revisited.plain_pickle import PickledArray, read_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
PLAIN: dict[str, Any] = {
    "imlist": ["all_souls_000013", "Köln"],
    "gnd": [{"bbx": [1.5, -2, 3.25e8, 4], "easy": (), "pair": (1, 2), "three": (1, 2, 3)}],
    "odd": [None, True, False, 0, 255, 65536, -1, 2**40, -(2**80), (1, 2, 3, 4)],
}
# As Python 2 and numpy 1 write pickle.dumps({"n": np.array([3, 1, 2]), "s": "caf\xe9",
# "one": np.float64(2.5)}, 2): all byte strings, those of arrays included, are texts (U).
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x01nq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
    b"K\x00\x85q\x05U\x01bq\x06\x87q\x07Rq\x08(K\x01K\x03\x85q\x09cnumpy\ndtype\nq\x0aU\x02i8q\x0b"
    b"K\x00K\x01\x87q\x0cRq\x0d(K\x03U\x01<q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0fb"
    b"\x89U\x18\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0q\x10tq\x11b"
    b"U\x01sq\x12U\x04caf\xe9q\x13U\x03oneq\x14cnumpy.core.multiarray\nscalar\nq\x15"
    b"cnumpy\ndtype\nq\x16U\x02f8q\x17K\x00K\x01\x87q\x18Rq\x19(K\x03U\x01<NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tbU\x08\0\0\0\0\0\0\x04@\x86Ru."
)


def old_names(data: bytes) -> bytes:
    """Name numpy's modules as before its version 2, in the protocols that end names by lines."""
    return data.replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_texts_and_numbers_are_as_pickle_reads_them(protocol: int) -> None:
    assert read_plain_pickle(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "values",
    [
        np.arange(5),
        np.array([], dtype=np.int32),
        np.arange(6, dtype=">u2").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([True, False]),
        np.array(["tower", "Köln"]),
        np.array([b"a", b"bc"]),
        np.array(3.5),
    ],
)
def test_arrays_are_as_numpy_reads_them(values: np.ndarray[Any, Any], protocol: int) -> None:
    data = pickle.dumps([values, values], protocol)
    for text in (data, old_names(data) if protocol < 4 else data):
        one, other = read_plain_pickle(text)
        assert isinstance(one, PickledArray)
        assert one is other
        assert one.values.dtype == values.dtype
        np.testing.assert_array_equal(one.values, values)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy_are_numbers(protocol: int) -> None:
    values = [np.int64(-3), np.float32(0.5), np.uint8(200), np.bool_(True)]
    found = read_plain_pickle(pickle.dumps(values, protocol))
    assert found == [-3, 0.5, 200, True]
    assert [type(value) for value in found] == [int, float, int, bool]


def test_files_of_python_2_are_read() -> None:
    found = read_plain_pickle(PYTHON_2)
    assert found["n"].values.tolist() == [3, 1, 2]
    assert (found["s"], found["one"]) == ("caf\xe9", 2.5)


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Take what shall be called when the pickle is read."""
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Tell pickle."""
        return self.call


class Stated:
    """Pickles as an object with a state."""

    def __init__(self) -> None:
        """Have a state."""
        self.secret = 1


def write_mark(path: str) -> None:
    Path(path).touch()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_a_pickle_names_is_run(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w')"
    attacks = [
        Call(os.system, f"touch {mark}"),
        Call(eval, code),
        Call(exec, code),
        Call(getattr, mark, "touch"),
        Call(write_mark, str(mark)),
        Call(io.open, str(mark), "w"),
        Call(map, eval, [code]),
        Call(np.load, str(mark)),
        Stated(),
        np.array([Call(eval, code)], dtype=object),
        {"deep": [(Call(eval, code),)]},
    ]
    for attack in attacks:
        data = pickle.dumps(attack, protocol)
        with pytest.raises(ValueError, match=r"it names '|an array of type 'O|an instruction that"):
            read_plain_pickle(data)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # Names with dots, which protocol 4 resolves step by step.
        (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", "it names 'numpy dtype.__init__'"),
        (b"\x80\x02cnumpy\nload\n.", "it names 'numpy load'"),
        (b"\x80\x02cnumpy.core.multiarray\nfromfile\n.", "it names 'numpy.core.multiarray fromf"),
        (b"cposix\nsystem\n(S'true'\ntR.", "it names 'posix system'"),
        (b"(S'true'\niposix\nsystem\n.", "an instruction that no list"),
        (b"(cposix\nsystem\nS'true'\no.", "it names 'posix system'"),
        (b"\x80\x02cnumpy\ndtype\n)\x81.", "an instruction that no list"),
        (b"\x80\x04\x8f.", "an instruction that no list"),  # EMPTY_SET
        (b"\x80\x02\x82\x01.", "unregistered extension code 1"),
        (b"Psomewhere\n.", "UnpicklingError unsupported persistent id"),
        (b"\x80\x05\x97.", "UnpicklingError pickle stream refers to out-of-band data"),
        # What is known, put together as numpy never does.
        (b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.", "type 'O', neither numbers"),
        (b"\x80\x02cnumpy\ndtype\nU\x02m8\x85R.", "type 'm8', neither numbers"),
        (b"\x80\x02cnumpy\ndtype\n]\x85R.", "damaged one: TypeError"),
        (b"\x80\x02cnumpy\ndtype\nU\x02i8\x85R(K\x03U\x02O,NNNtb.", "in the order 'O,'"),
        (b"\x80\x02]}b.", "damaged one: AttributeError"),
        (b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.", "damaged one: TypeError"),
        (b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.", "damaged one: AttributeError"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02i8\x85RU\x01a\x86R.", "1 b"),
        (
            b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02U9\x85RU\x01a\x86R.",
            "a te",
        ),
        (b"\x80\x02U\x01aU\x01b\x85R.", "damaged one: TypeError"),
        # Damage.
        (b"", "damaged one: EOFError"),
        (b"JFIF not a pickle", "no pickle, or a damaged one"),
        (b"\x80\x02]", "damaged one: EOFError"),
        (b"\x80\x02.", "damaged one: IndexError"),
        (b"\x80\x02h\x05.", "Memo value not found at index 5"),
        (b"\x80\x02e.", "damaged one: IndexError"),
        (b"\x80\x02\x86.", "damaged one: IndexError"),
        (b"\x80\x02}(K\x01K\x02u.", "a int where a str belongs"),
        (b"(I1\nI2\nd.", "an instruction that no list"),
        (b"\x80\x02}(U\x01au.", "damaged one: IndexError"),
        (b"\x80\x02U\x01aK\x01a.", "damaged one: AttributeError"),
        (b"\x80\x02}]]s.", "a list where a str belongs"),
    ],
)
def test_anything_else_is_refused_with_its_reason(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_plain_pickle(data)


def test_sizes_that_are_not_there_take_no_memory() -> None:
    """Lengths, memo numbers and shapes of terabytes, and one value copied a thousand times."""
    for data in (
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # BINBYTES8
        b"\x80\x02T\xff\xff\xff\x7f.",  # BINSTRING
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x0f.",  # FRAME
    ):
        with pytest.raises(ValueError):
            read_plain_pickle(data)
    assert read_plain_pickle(b"\x80\x02]r\xff\xff\xff\xff.") == []  # LONG_BINPUT
    of_type = b"cnumpy\ndtype\nU\x02u1\x85R"
    shape = b"\x8a\x06\xff\xff\xff\xff\xff\x7f\x85"
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + shape + of_type + b"K\x00U\x01atb"
    with pytest.raises(ValueError, match=r"of shape \(140737488355327,\) and type u1 of 1 byte"):
        read_plain_pickle(b"\x80\x02" + array + b".")
    raw = b"\x80\x02(" + of_type + b"q\x01T\x10\x27\0\0" + b"a" * 10_000 + b"q\x02"
    again = b"cnumpy.core.numeric\n_frombuffer\n(h\x02h\x01M\x10\x27\x85U\x01CtR"
    arrays = [array.parts[0] for array in read_plain_pickle(raw + 1000 * again + b"t.")[2:]]
    assert len(arrays) == 1000 and all(part is arrays[0] for part in arrays)


def test_nesting_without_end_is_read_or_refused() -> None:
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read_plain_pickle(deep), list)
    with pytest.raises(ValueError, match="a tuple where a str belongs"):
        read_plain_pickle(b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.")
    itself: list[Any] = []
    itself.append(itself)
    found = read_plain_pickle(pickle.dumps(itself))
    assert found[0] is found


@given(st.binary(max_size=200))
@example(b"\x80\x05\x95")
def test_noise_is_refused_by_a_value_error_or_read(noise: bytes) -> None:
    try:
        read_plain_pickle(noise)
    except ValueError:
        pass


@given(st.sampled_from(PROTOCOLS), st.integers(0, 10_000), st.integers(0, 255))
def test_a_byte_that_changed_is_refused_by_a_value_error_or_read(
    protocol: int, place: int, value: int
) -> None:
    data = bytearray(pickle.dumps([PLAIN, np.arange(3), np.float32(2)], protocol))
    data[place % len(data)] = value
    try:
        read_plain_pickle(bytes(data))
    except ValueError:
        pass


def test_every_instruction_is_followed_or_refused() -> None:
    """An instruction of a later Python must not slip through."""
    for opcode in pickletools.opcodes:
        data = opcode.code.encode("latin-1") + b"0\n0\n" + bytes(8)
        try:
            read_plain_pickle(data)
        except ValueError:
            continue
