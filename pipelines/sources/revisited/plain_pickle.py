"""Read lists, texts, numbers and numeric arrays out of a pickle without running anything of it.

A pickle is a program: `pickle.load` calls whatever it names. Here names are looked up in NAMES
alone, which has what arrays of numbers consist of, in plain Python: numpy's own would take a dtype
of pointers, or a shape of terabytes. Files of Python 2 are read, too. Opens no file.
"""

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

# Booleans, integers, floats and texts; no objects, no structures.
TYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,3}")


class _Dtype:
    def __init__(self, code: str, *_: object) -> None:
        if not TYPE_CODE.fullmatch(code):
            raise ValueError(f"an array of type '{code[:40]}', neither numbers nor texts")
        self.code, self.order = code, "="

    def build(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]
        if self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array whose bytes are in the order {self.order!r}")


class PickledArray:
    """An array of the file: what it consists of, not copied before it is asked for."""

    def __init__(self, *_: object) -> None:
        """Take nothing: a pickle names an array first, and describes it later."""
        self.parts: tuple[Any, ...] = (b"", _Dtype("f8"), (0,), False)

    def build(self, state: tuple[Any, ...]) -> None:
        """Take version, shape, dtype, whether the first axis runs first, and the bytes.

        Raises:
            ValueError: there are more or fewer bytes than shape and dtype say.
        """
        _, shape, dtype, fortran, raw = state
        if len(shape) > 2 or math.prod(shape) * np.dtype(dtype.code).itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} and type {dtype.code} of {len(raw)} bytes")
        self.parts = (raw, dtype, shape, fortran)

    @property
    def values(self) -> NDArray[Any]:
        """The array, read-only."""
        raw, dtype, shape, fortran = self.parts
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        array = np.frombuffer(data, np.dtype(dtype.order + dtype.code))
        return array.reshape(shape, order="F" if fortran else "C")


def _frombuffer(raw: Any, dtype: _Dtype, shape: tuple[int, ...], order: str) -> PickledArray:
    array = PickledArray()
    array.build((1, shape, dtype, order == "F", raw))
    return array


def _scalar(dtype: _Dtype, raw: Any) -> Any:
    if dtype.code[0] in "SU":  # a few bytes would make many
        raise ValueError("a text of numpy's; write it as one of Python's")
    return _frombuffer(raw, dtype, (), "C").values.item()


def _encode(text: str, codec: str) -> str:
    return text  # bytes for Python 2, of which text is taken, too: nothing is copied


NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: "",
    ("builtins", "bytes"): lambda: "",
}
for core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    NAMES[f"{core}.multiarray", "_reconstruct"] = PickledArray
    NAMES[f"{core}.multiarray", "scalar"] = _scalar
    NAMES[f"{core}.numeric", "_frombuffer"] = _frombuffer


class _Dict(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        if type(key) is not str:  # the hash of a tuple nested without end would end Python
            raise ValueError(f"a {type(key).__name__} where a str belongs")
        super().__setitem__(key, value)


REFUSED = b"".join(
    (
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
    )
)


def _refuse(_: object) -> None:
    raise ValueError("it has an instruction that no list of numbers needs")


# The one in Python: that in C makes room for whatever length or number a few bytes name.
class _PlainUnpickler(pickle._Unpickler):
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(REFUSED, _refuse),
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise ValueError(
                f"it names '{f'{module} {name}'[:80]}', which is no part of lists and arrays of "
                "numbers and might run anything; it was not run"
            )
        return NAMES[module, name]

    def load_build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].build(state)

    def load_empty_dict(self) -> None:
        self.stack.append(_Dict())

    def load_dict(self) -> None:  # of protocol 0, whose items follow
        if self.pop_mark():
            _refuse(self)
        self.stack.append(_Dict())

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.EMPTY_DICT[0]] = load_empty_dict
    dispatch[pickle.DICT[0]] = load_dict


def read_plain_pickle(data: bytes) -> Any:
    """Return what a pickle holds: None, numbers, texts, bytes, lists, tuples, dicts, PickledArray.

    Bytes of protocols 0 to 2 are texts, byte for byte (latin-1). Time and memory are those of the
    file's size, whatever it says.

    Raises:
        ValueError: it is cut short or damaged, or holds anything else.

    >>> read_plain_pickle(pickle.dumps({"numbers": [1, 2.5, None]}))
    {'numbers': [1, 2.5, None]}
    """
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="latin-1").load()
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle raises any
        raise ValueError(f"no pickle, or a damaged one: {type(error).__name__} {error}") from error
