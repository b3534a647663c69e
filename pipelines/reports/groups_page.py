"""Write groups.html: the groups that were found among photos, to look through and to name.

Reads groups.csv beside it, and the photos that are shown. The names that somebody writes on the
page are saved as names.csv by the browser; `cairn discover --names` renames the folders by it.
"""

import base64
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd

from embed.settings import DecodeSettings
from pipelines.answers.supporters import format_inliers
from pipelines.datasets.group_folders import NAMES, PAGE, TABLE
from pipelines.reports.page.pairs import read_photo, show_photo
from pipelines.reports.page.records import Picture
from pipelines.reports.page.render import save_page

SHOWN = 8  # photos of a group
SHOWN_APART = 24  # photos that are in no group
BOX = (150, 150)  # pixels, of a photo


@dataclass(frozen=True)
class ShownGroup:
    """A group: its folder, and some of its photos."""

    folder: str
    lead: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class GroupsPage:
    """All that the page shows."""

    title: str
    command: str  # that renames the folders
    facts: tuple[tuple[str, str], ...]  # name, value
    groups: tuple[ShownGroup, ...]
    apart: ShownGroup
    script: str
    script_hash: str  # by which the page's policy allows this script alone


def write_groups_page(photos: Path, into: Path) -> None:
    """Write the page of the groups in a folder, whole or not at all."""
    table = pd.read_csv(into / TABLE, dtype=str, keep_default_na=False)
    save_page("groups", _make_page(table, photos, into), into / PAGE)


def _make_page(table: pd.DataFrame, photos: Path, into: Path) -> GroupsPage:
    apart = table[table["group"] == ""]
    groups = tuple(
        ShownGroup(str(folder), _lead(rows, SHOWN), _show(rows, photos, SHOWN))
        for folder, rows in table[table["group"] != ""].groupby("group", sort=True)
    )
    facts = (
        ("photos", f"{len(table)} in {photos}"),
        ("groups", f"{len(groups)} of {len(table) - len(apart)} photos"),
        ("apart", f"{len(apart)} photos that show nothing twice"),
        ("folders", str(into)),
    )
    shown_apart = ShownGroup("", _lead(apart, SHOWN_APART), _show(apart, photos, SHOWN_APART))
    command = shlex.join(["cairn", "discover", str(photos), "--into", str(into), "--names", NAMES])
    script = resources.files("pipelines.reports.page").joinpath("templates/names.js")
    text = script.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return GroupsPage(
        *("Groups of photos", command, facts, groups, shown_apart),
        *(text, digest),
    )


def _lead(rows: pd.DataFrame, shown: int) -> str:
    more = f", {shown} of them shown" if len(rows) > shown else ""
    return f"{len(rows)} photo{'s' * (len(rows) != 1)}{more}"


def _show(rows: pd.DataFrame, photos: Path, count: int) -> tuple[Picture, ...]:
    """Return some photos, in the order of the table, evenly spread over it."""
    places = [round(place * (len(rows) - 1) / max(count - 1, 1)) for place in range(count)]
    some: Sequence[int] = range(len(rows)) if len(rows) <= count else places
    return tuple(_show_photo(rows.iloc[place], photos) for place in some)


def _show_photo(row: "pd.Series[str]", photos: Path) -> Picture:
    photo = read_photo(photos / row["image"], DecodeSettings().max_pixels, box=BOX)
    found = format_inliers(int(row["inliers"])) if row["inliers"] else row["by"]
    note = f"{found} with {row['joined_to']}" if row["joined_to"] else ""
    return show_photo(photo, row["image"], row["image"], note, box=BOX)
