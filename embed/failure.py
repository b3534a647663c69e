"""The record of an image that could not be used. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """An image that could not be used."""

    position: int  # in the list of images asked for
    reason: str  # short stable code
    message: str  # for people: what was wrong and what to do
