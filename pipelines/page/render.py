"""Write pages: records into templates, one HTML file each that needs no other file.

Texts are escaped by the templates, for names and ids come from anybody.
"""

from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..artifacts import writing
from .records import QueryPage, Report

Kind = Literal["report", "query"]
TITLES: dict[Kind, str] = {"report": "report of a run", "query": "answers to photos"}


def render(kind: Kind, page: Report | QueryPage) -> str:
    """Return the HTML of a page."""
    environment = Environment(
        loader=PackageLoader("pipelines.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{kind}.html").render(page=page, kind=TITLES[kind])


def save_page(kind: Kind, page: Report | QueryPage, path: Path) -> None:
    """Write a page, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(render(kind, page), encoding="utf-8")
