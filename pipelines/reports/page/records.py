"""The records that the templates turn into HTML. Texts are plain: the templates escape them."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["bad", "warn", "good", "plain"]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page, and what is written below it."""

    uri: str  # data URI
    alt: str
    width: int  # pixels
    height: int
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """One figure in large print."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of a table whose figure is drawn as a bar, too."""

    name: str
    value: str
    share: float  # of the widest possible bar, 0 to 1
    more: tuple[str, ...] = ()  # further columns


@dataclass(frozen=True)
class Case:
    """One photo that was asked about, and what speaks for and against the answer to it."""

    title: str
    badge: str
    tone: Tone
    facts: tuple[str, ...]
    pairs: tuple[Picture, ...]  # the query beside database photos
    neighbors: tuple[Picture, ...]


@dataclass(frozen=True)
class Group:
    """Cases under one heading."""

    title: str
    lead: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class ScoreBars:
    """Where GAP was lost and won."""

    lost: tuple[Bar, ...]
    recall: tuple[Bar, ...]
    steps: tuple[Bar, ...]
    step_columns: tuple[str, ...]  # names of the further columns of steps
    note: str  # on test photos that the database holds, too


@dataclass(frozen=True)
class Report:
    """All that the report of a run shows; empty parts are left out."""

    title: str
    facts: tuple[tuple[str, str], ...]  # what it is of: name, value
    tiles: tuple[Tile, ...]
    scores: ScoreBars | None  # None without a solution
    measured_on: str  # which photos the charts are of
    charts: tuple[Picture, ...]
    curves: tuple[Picture, ...]  # of the training of each model
    groups: tuple[Group, ...]
    failures: tuple[tuple[str, str], ...]  # photos that could not be read: id, reason


@dataclass(frozen=True)
class QueryPage:
    """The answers to photos."""

    title: str
    facts: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
