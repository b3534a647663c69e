"""Order the database photos beside a query: what speaks for its answer, then what for another.

The one order that the sheet of answers, the pages, the terminal and JSON have. Knows no run.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from rerank.geometry import is_verified


class Supporter(Protocol):
    """A database photo beside a query."""

    @property
    def label(self) -> int:
        """The landmark that it shows."""

    @property
    def similarity(self) -> float:
        """Cosine to the query."""

    @property
    def inliers(self) -> int | None:
        """None where it was not compared."""


N = TypeVar("N", bound=Supporter)


def order_supporters(found: Iterable[N], label: int | None, count: int | None = None) -> list[N]:
    """Return the photos of a landmark, the strongest first, then those of others likewise.

    Args:
        found: photos beside one query.
        label: the landmark that was answered, or guessed and refused. None for none.
        count: how many to return, None for all. The last of two and more is kept for the strongest
            photo of another landmark, if there is one: what nearly was the answer.
    """
    ordered = sorted(found, key=measure_strength, reverse=True)
    own = [each for each in ordered if each.label == label]
    others = [each for each in ordered if each.label != label]
    if count is None:
        return own + others
    own = own[: count - 1 if others and count > 1 else count]
    return own + others[: count - len(own)]


def measure_strength(near: Supporter) -> tuple[int, float]:
    """Return what speaks for a photo: inliers beyond chance, then its similarity."""
    inliers = near.inliers if near.inliers is not None and is_verified(near.inliers) else 0
    return inliers, near.similarity


def name_landmark(near: Supporter, label: int | None, name: str) -> str:
    """Return the name of what a photo shows, marked where that is not what was answered."""
    return name if label is None or near.label == label else f"another: {name}"


def format_box(box: Sequence[int] | None) -> str:
    """Say where in a photo something is.

    >>> format_box((120, 60, 480, 420))
    'x 120 to 480, y 60 to 420'
    """
    if box is None:
        return "all of it"
    left, top, right, bottom = box
    return f"x {left} to {right}, y {top} to {bottom}"


def format_inliers(inliers: int | None) -> str:
    """Say what geometry found in two photos; nothing where they were not compared.

    >>> [format_inliers(inliers) for inliers in (12, 4, None)]
    ['12 inliers', 'not verified', '']
    """
    if inliers is None:
        return ""
    return f"{inliers} inliers" if is_verified(inliers) else "not verified"
