"""Read lists, texts, numbers and numeric arrays out of a pickle without running anything of it.

A pickle is a program: `pickle.load` calls whatever the file names. Here its instructions are read
by `pickletools` and followed by hand. The few names that arrays of numbers consist of are known,
as texts; nothing is imported, looked up or called by name. Files of Python 2 are read, too: their
byte strings become text, byte for byte (latin-1). Opens no file.
"""

import math
import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What numpy writes, before and since its version 2, and what Python 3 writes of bytes for Python 2.
NAMES = {
    "numpy ndarray": "array type",
    "numpy dtype": "number type",
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.numeric _frombuffer": "array of bytes",
    "numpy._core.numeric _frombuffer": "array of bytes",
    "numpy.core.multiarray scalar": "number",
    "numpy._core.multiarray scalar": "number",
    "_codecs encode": "encoded bytes",
    "__builtin__ bytes": "no bytes",
    "builtins bytes": "no bytes",
}
# Booleans, integers, floats and texts; no objects, no structures.
TYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,3}")

NUMBERS = "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT"
TEXTS = "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
BYTES = "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
VALUES = frozenset(f"{NUMBERS} {TEXTS} {BYTES}".split())  # instructions that carry a value
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
REMEMBER = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
RECALL = frozenset(("GET", "BINGET", "LONG_BINGET"))


@dataclass
class PickledArray:
    """An array of the file: its values follow after it was named."""

    values: NDArray[Any] | None = None


@dataclass(frozen=True)
class _Name:
    meaning: str  # of NAMES


@dataclass
class _NumberType:
    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass
class _Machine:
    """What a pickle has built so far."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # heights of the stack
    memo: dict[int, Any] = field(default_factory=dict)
    room: int = 0  # bytes that may still be copied out of what was read

    def copy(self, raw: Any) -> bytes | bytearray:
        """Return what was read as bytes: of Python 2 it is text."""
        if not isinstance(raw, str | bytes | bytearray):
            raise ValueError(f"an array whose values are a {type(raw).__name__}, not bytes")
        # Few instructions can ask for many copies of the same bytes.
        self.room -= len(raw)
        if self.room < 0:
            raise ValueError("more values than the file has room for")
        return raw.encode("latin-1") if isinstance(raw, str) else raw

    def pop_marked(self) -> list[Any]:
        """Take what was put on the stack since the last mark."""
        height = self.marks.pop()
        taken = self.stack[height:]
        del self.stack[height:]
        return taken


def read_plain_pickle(data: bytes) -> Any:
    """Return what a pickle holds: None, numbers, texts, bytes, lists, tuples, dicts, PickledArray.

    Time and memory are those of the file's size, whatever it says.

    Raises:
        ValueError: it is cut short or damaged, or holds anything else.

    >>> import pickle
    >>> read_plain_pickle(pickle.dumps({"numbers": [1, 2.5, None]}))
    {'numbers': [1, 2.5, None]}
    """
    machine = _Machine(room=2 * len(data))  # numpy's bytes may be text that is encoded first
    try:
        for instruction, argument, place in pickletools.genops(data):
            if instruction.name == "STOP":
                return machine.stack.pop()
            _follow(machine, instruction.name, argument, place or 0)
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"no pickle, or a damaged one: {type(error).__name__} {error}") from error
    raise ValueError("no pickle, or one that is cut short")


def _follow(machine: _Machine, name: str, argument: Any, place: int) -> None:
    """Follow one instruction."""
    stack = machine.stack
    if name in VALUES:
        stack.append(argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name in REMEMBER:
        machine.memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif name in RECALL:
        stack.append(machine.memo[argument])
    elif name == "MARK":
        machine.marks.append(len(stack))
    elif name == "GLOBAL":
        stack.append(_find_name(argument))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_find_name(f"{_expect(module, str)} {_expect(attribute, str)}"))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(_make(machine, called, arguments))
    elif name == "BUILD":
        state = stack.pop()
        _fill(machine, stack[-1], state)
    elif name not in ("PROTO", "FRAME") and not _follow_container(machine, name):
        raise ValueError(f"instruction {name} at byte {place}, which no list of numbers needs")


def _follow_container(machine: _Machine, name: str) -> bool:
    """Follow one instruction about lists, tuples and dicts; False if it is about none."""
    stack = machine.stack
    if name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_TUPLE":
        stack.append(())
    elif name == "LIST":
        stack.append(machine.pop_marked())
    elif name == "TUPLE":
        stack.append(tuple(machine.pop_marked()))
    elif name == "DICT":
        items = machine.pop_marked()
        stack.append({})
        _set_items(stack, items)
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        if len(stack) < count:
            raise IndexError("nothing there to be taken")
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else machine.pop_marked()
        _expect(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else machine.pop_marked()
        _set_items(stack, items)
    else:
        return False
    return True


def _set_items(stack: list[Any], items: list[Any]) -> None:
    target = _expect(stack[-1], dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_expect(key, str)] = value


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _find_name(name: str) -> _Name:
    if name not in NAMES:
        raise ValueError(
            f"it names '{name[:80]}', which is no part of lists and arrays of numbers and might "
            "run anything; it was not run"
        )
    return _Name(NAMES[name])


def _make(machine: _Machine, called: Any, arguments: Any) -> Any:
    """Return what one of NAMES makes of its arguments."""
    match _expect(called, _Name).meaning, _expect(arguments, tuple):
        case "array", _:
            return PickledArray()
        case "array of bytes", (raw, kind, shape, order):
            return PickledArray(_decode(machine.copy(raw), kind, shape, order == "F"))
        case "number type", (str(code), *_):
            if not TYPE_CODE.fullmatch(code):
                raise ValueError(f"an array of type '{code[:40]}', neither numbers nor texts")
            return _NumberType(code)
        case "number", (kind, raw):
            return _decode(machine.copy(raw), kind, (), False).item()
        case "encoded bytes", (str(text), "latin1" | "latin-1"):
            return machine.copy(text)
        case "no bytes", ():
            return b""
    raise ValueError(f"a {called.meaning} made of what none is made of")


def _fill(machine: _Machine, target: Any, state: Any) -> None:
    """Complete an array or a type by what was written about it."""
    match target, state:
        # Version; byte order; of structures alone: subarray, names, fields.
        case _NumberType(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            target.order = order
        case PickledArray(), (int(), shape, kind, int(fortran), raw):
            target.values = _decode(machine.copy(raw), kind, shape, bool(fortran))
        case _:
            raise ValueError(f"a {type(target).__name__} described as none is")


def _decode(data: bytes | bytearray, kind: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    """Return bytes as an array of a type and a shape; fortran says which axis runs first."""
    dtype = _expect(kind, _NumberType).dtype
    sizes = [_expect(size, int) for size in _expect(shape, tuple)]
    if len(sizes) > 2 or min(sizes, default=0) < 0:
        raise ValueError(f"an array of {len(sizes)} axes or of a negative size")
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {tuple(sizes)} and type {dtype} of {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(sizes, order="F" if fortran else "C")
