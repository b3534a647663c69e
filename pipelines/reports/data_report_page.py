"""Write a report as files: data_report.html, which needs no other file, and data_report.png.

Texts are escaped by the template, for names and ids come from anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embed.errors import InputError
from embed.files import writing
from pipelines.datasets.facts.image_sizes import Measured
from pipelines.decorations import draw
from pipelines.reports.page.pictures import encode_data_uri
from pipelines.reports.page.records import Picture, Tile
from pipelines.reports.page.render import save_page

from .data_report import DataReport
from .data_report_figure import draw_report
from .data_report_sections import Section
from .units import format_bytes, format_percent, format_seconds

PAGE, FIGURE = "data_report.html", "data_report.png"


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]
    figure: Picture | None  # None where it could not be drawn
    sections: tuple[Section, ...]


def open_folder(folder: Path) -> Path:
    """Make the folder of a report, and return it.

    Raises:
        InputError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}); name a folder that can be written to: "
            "--out FOLDER"
        ) from error
    return folder


def save_report(
    report: DataReport, measured: Measured, sections: Sequence[Section], folder: Path
) -> Path:
    """Write both files into a folder, and return where the page is.

    A figure that cannot be drawn is a warning, and missing from the page.
    """
    drawn = draw(folder / FIGURE, lambda: _save_figure(report, measured, folder / FIGURE))
    page = make_page(report, sections, _load_figure(drawn[0]) if drawn else None)
    save_page("data_report", page, folder / PAGE)
    return folder / PAGE


def _save_figure(report: DataReport, measured: Measured, path: Path) -> None:
    with writing(path) as temporary:
        draw_report(report.facts, measured, temporary)


def _load_figure(path: Path) -> Picture:
    with Image.open(path) as image:
        width, height = image.size
    uri = encode_data_uri(path.read_bytes(), "image/png")
    alt = "histogram of the images of a landmark, sizes of images, sizes of files"
    return Picture(uri, alt, width, height)


def make_page(report: DataReport, sections: Sequence[Section], figure: Picture | None) -> Page:
    """Put a report and its figure into what the template shows."""
    facts = report.facts
    shown = [(table.name, f"{table.rows:,} rows") for table in facts.tables]
    return Page(
        title=facts.dataset,
        facts=tuple(shown),
        tiles=tuple(_make_tiles(report)),
        figure=figure,
        sections=tuple(sections),
    )


def _make_tiles(report: DataReport) -> list[Tile]:
    sizes, images = next(iter(report.facts.sizes.values())), report.facts.images
    alone = format_percent(sizes.singletons / sizes.classes)
    share = f", {alone} of all" if sizes.singletons else ""
    tiles = [
        Tile("training images", f"{sizes.images:,}", f"of {sizes.classes:,} landmarks"),
        Tile("median", f"{sizes.median:,}", f"images of a landmark; {sizes.largest:,} at most"),
        Tile("singletons", f"{sizes.singletons:,}", "landmarks of one image" + share),
        Tile("image files", format_bytes(images.bytes), f"{images.images:,} images"),
    ]
    if report.plan is not None:
        stages = report.plan.stages
        time = format_seconds(sum(stage.seconds for stage in stages))
        disk = format_bytes(sum(stage.disk for stage in stages))
        tiles.append(Tile("a run", time, f"about, and {disk} on disk: recipe {report.plan.recipe}"))
    return tiles
