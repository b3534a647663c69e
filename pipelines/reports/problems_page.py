"""Write problems.html: some problems of each kind, with the images, to judge the check by eye.

Reads the images that are shown.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.settings import DecodeSettings
from pipelines.datasets.checking.problems import MEANINGS, Findings, Kind, Problems
from pipelines.datasets.dataset import Dataset
from pipelines.reports.page.pairs import read_photo, show_photo, to_picture
from pipelines.reports.page.pictures import draw_pair, placeholder
from pipelines.reports.page.records import Bar, Picture, Tone
from pipelines.reports.page.render import save_page

from .problems_tables import Count, count_problems, format_share

PAGE = "problems.html"  # in the dataset folder
SHOWN = 8  # problems of a kind
TONES: dict[Kind, Tone] = {
    "missing": "bad",
    "corrupt": "bad",
    "tiny": "warn",
    "blank": "warn",
    "exact_duplicate": "plain",
    "near_duplicate": "plain",
    "across_split": "bad",
    "mixed_labels": "bad",
}


@dataclass(frozen=True)
class ShownKind:
    """Some problems of one kind."""

    title: str
    lead: str
    tone: Tone
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ProblemsPage:
    """All that the page shows."""

    title: str
    facts: tuple[tuple[str, str], ...]  # name, value
    counts: tuple[Bar, ...]
    kinds: tuple[ShownKind, ...]


def write_page(dataset: Dataset, found: Findings, problems: Problems, path: Path) -> None:
    """Write the page, whole or not at all."""
    save_page("problems", _make_page(dataset, found, problems), path)


def _make_page(dataset: Dataset, found: Findings, problems: Problems) -> ProblemsPage:
    counts = [count for count in count_problems(found, problems) if count.images]
    readable = found.catalogue.readable
    facts = (
        ("dataset", str(dataset.folder)),
        ("images", f"{len(readable)}, of which {readable.sum()} can be read"),
        ("tiny", f"shorter side below {found.min_side} pixels"),
    )
    bars = tuple(
        Bar(each.kind, f"{each.images} of {each.of_images}", each.share, (MEANINGS[each.kind],))
        for each in counts
    )
    kinds = tuple(_show_kind(dataset, found, problems, count) for count in counts)
    return ProblemsPage("Problems of a dataset", facts, bars, kinds)


def _show_kind(dataset: Dataset, found: Findings, problems: Problems, count: Count) -> ShownKind:
    places = problems.of(count.kind)
    shown = places[np.linspace(0, len(places) - 1, min(SHOWN, len(places))).round().astype(int)]
    lead = f"{MEANINGS[count.kind].capitalize()}: {format_share(count)}."
    if len(shown) < len(places):
        lead += f" {len(shown)} of {len(places)} are shown; problems.csv has all."
    pictures = tuple(_show_problem(dataset, found, problems, int(place)) for place in shown)
    return ShownKind(count.kind, lead, TONES[count.kind], pictures)


def _show_problem(dataset: Dataset, found: Findings, problems: Problems, place: int) -> Picture:
    """Return the image, beside the one it is a problem with."""
    rows = problems.row[[place]]
    if problems.other[place] >= 0:
        rows = np.append(rows, problems.other[place])
    ids = found.catalogue.ids[rows].tolist()
    listed = zip(ids, found.catalogue.name_tables(rows), strict=True)
    title = " · ".join(f"{image_id} ({table})" for image_id, table in listed)
    detail = str(problems.detail[place])
    photos = [read_photo(dataset.locate(i), DecodeSettings().max_pixels) for i in ids]
    if len(photos) == 1:
        return show_photo(photos[0], ids[0], title, detail)
    pixels = [placeholder() if photo.pixels is None else photo.pixels for photo in photos]
    drawn = draw_pair(pixels[0], pixels[1])
    return to_picture(drawn, f"{ids[0]} beside {ids[1]}", title, detail)
