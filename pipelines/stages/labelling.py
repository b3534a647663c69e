"""Find which landmark new photos show: one that the database has, or a new one.

Numbers and names in, numbers and names out.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from embed.errors import RequestError
from embed.settings import LARGEST
from pipelines.datasets.naming import name_landmark
from pipelines.sources.folders import NO_LANDMARK_FOLDER
from pipelines.sources.new_photos import Said

logger = logging.getLogger(__name__)

NAMED = 3


@dataclass(frozen=True)
class Landmark:
    """What photos show."""

    label: int
    name: str | None
    new: bool  # neither number nor name were known

    def __str__(self) -> str:
        """Return what it is called, for people."""
        return f"landmark {self.label}" + ("" if self.name is None else f", {self.name}")


def find_landmarks(
    said: Iterable[Said],
    labels: Collection[int],
    names: Mapping[int, str],
    advice: str = "--name NAME",
) -> dict[Said, Landmark]:
    """Return the landmark of all that photos are said to show.

    A number or a name that is known is that of the landmark, and so is a name that differs from one
    in small and large letters alone, which is logged; a new name without a number takes the next
    free one.

    Args:
        said: of the photos.
        labels: of the landmarks in the database.
        names: of landmarks, in the database or not.
        advice: how a new landmark is named.

    Raises:
        RequestError: a number is new and has no name, number and name are of two landmarks, or a
            name is in other letters that of several.
    """
    known = {name_landmark(name): label for label, name in names.items()}
    called = {label: name for name, label in known.items()}
    spelled: dict[str, list[str]] = {}
    for text in known:
        spelled.setdefault(text.casefold(), []).append(text)
    taken = {*labels, *names}
    found: dict[Said, Landmark] = {}
    for each in dict.fromkeys(said):
        label, name = each.label, _spell(each.name, spelled)
        if name == NO_LANDMARK_FOLDER:
            raise RequestError(
                f"{name} stands for photos without a landmark, which are not searched; name what "
                "they show, or list them in non_landmark.csv of the dataset"
            )
        if label is not None and not 0 <= label <= LARGEST:
            raise RequestError(f"a landmark has a number from 0 to {LARGEST}, not {label}")
        if name is not None and not name.strip():
            raise RequestError("a landmark has a name that can be seen; give it one")
        if label is None:
            assert name is not None  # whoever says nothing of a photo is refused before
            label = known[name] if name in known else _next_free(taken)
        new = label not in taken
        if name is None and new:
            raise RequestError(
                f"there is no landmark {label}; to add it as a new one, name it: {advice}"
            )
        if name is not None:
            _check_name(label, name, called, known)
            known[name], called[label] = label, name
            if name not in (same := spelled.setdefault(name.casefold(), [])):
                same.append(name)
        taken.add(label)
        found[each] = Landmark(label, called.get(label), new)
    return found


def _next_free(taken: Collection[int]) -> int:
    """Return the number after the largest, or the smallest free one where that is too large."""
    following = max(taken, default=-1) + 1
    if following <= LARGEST:
        return following
    return next(number for number in count() if number not in taken)


def _spell(name: str | None, spelled: Mapping[str, list[str]]) -> str | None:
    """Return a name as it is known, if it is in small and large letters alike."""
    same = [] if name is None else spelled.get(name.casefold(), [])
    if not same or name in same:
        return name
    if len(same) > 1:
        raise RequestError(
            f"{name} may be {' or '.join(same)}; write it as one of them, or say its number"
        )
    logger.warning("%s is taken for %s, which is known", name, same[0])
    return same[0]


def _check_name(label: int, name: str, called: Mapping[int, str], known: Mapping[str, int]) -> None:
    if (other := called.get(label, name)) != name:
        raise RequestError(
            f"landmark {label} is called {other}, not {name}; leave the name away to add photos to "
            "it, or the number to add a new landmark"
        )
    if (place := known.get(name, label)) != label:
        raise RequestError(
            f"{name} is landmark {place}, not {label}; leave the number away to add photos to it, "
            "or take another name"
        )


def suggest_near(label: int, labels: Collection[int], names: Mapping[int, str]) -> str:
    """Name landmarks whose numbers are like one that is not there."""
    near = sorted(labels, key=lambda other: (abs(other - label), other))[:NAMED]
    named = (f"{other} ({names[other]})" if other in names else str(other) for other in near)
    return f"the nearest are {', '.join(named)}"
