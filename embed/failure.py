"""The record of an image that could not be used. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """An image that could not be used."""

    position: int  # in the list of images asked for
    reason: str  # short stable code
    message: str  # for people: what was wrong and what to do


def name_first(failures: Sequence[Failure]) -> str:
    """Return the first of some failures as the end of a sentence for people; "" where none is."""
    return f"; the first: {failures[0].message}" if failures else ""
