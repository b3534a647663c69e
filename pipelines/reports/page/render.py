"""Write pages: records into templates, one HTML file each that needs no other file.

Texts are escaped by the templates, and control characters left out, for names and ids come from
anybody.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from embed.files import writing
from embed.printable import printable

# By name of the template: what a page says that it is.
TITLES = {
    "report": "report of a run",
    "query": "answers to photos",
    "data_report": "report of a dataset",
    "problems": "check of a dataset",
    "groups": "groups of photos",
    "side_by_side": "two runs side by side",
}


def render(template: str, page: Any) -> str:
    """Return the HTML of a page, a record of what its template (of TITLES) shows."""
    environment = Environment(
        loader=PackageLoader("pipelines.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_show,
    )
    environment.filters["columns"] = count_columns
    return environment.get_template(f"{template}.html").render(page=page, kind=TITLES[template])


def count_columns(tiles: int, most: int) -> int:
    """Return in how many columns tiles stand, so that no row of three and more has one alone below.

    >>> [count_columns(tiles, 6) for tiles in (1, 6, 7, 8, 13)]
    [1, 6, 4, 4, 5]
    >>> [count_columns(tiles, 3) for tiles in (4, 5, 6, 7)]
    [2, 3, 3, 2]
    """
    even = -(-tiles // max(-(-tiles // most), 1))  # in as many rows, of lengths that differ least
    return next((each for each in range(even, 2, -1) if tiles % each != 1), min(tiles, 2))


def _show(value: object) -> object:
    """Make a text fit to be shown; HTML that a template has made stays as it is."""
    return printable(value) if type(value) is str else value


def save_page(template: str, page: Any, path: Path) -> None:
    """Write a page, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(render(template, page), encoding="utf-8")
