"""The record of an image that could not be used. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .printable import printable


@dataclass(frozen=True)
class Failure:
    """An image that could not be used."""

    position: int  # in the list of images asked for
    reason: str  # short stable code
    message: str  # for people: what was wrong and what to do


def name_from(folder: Path, failures: Sequence[Failure]) -> list[Failure]:
    """Return failures whose messages name files from a folder, as they do wherever it lies."""
    prefix = printable(f"{folder}/")
    return [replace(each, message=each.message.removeprefix(prefix)) for each in failures]


def name_first(failures: Sequence[Failure]) -> str:
    """Return the first of some failures as the end of a sentence for people; "" where none is."""
    return f"; the first: {failures[0].message}" if failures else ""
