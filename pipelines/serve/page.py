"""The page: one template, a style sheet, and the scripts, which ask the JSON API."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from .api import Asked

page = APIRouter(include_in_schema=False)
STATIC = Path(__file__).with_name("static")
# Said by us: no browser runs a module of another type, and systems name some otherwise.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
environment = Environment(
    loader=PackageLoader("pipelines.serve"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class PageFacts:
    """What the template shows."""

    run: str  # its name; empty where that needs the token
    mebibytes: float  # that an upload may have
    megapixels: float


@page.api_route("/", methods=["GET", "HEAD"])
async def show_page(request: Request, service: Asked) -> Response:
    """Return the page. It holds nothing that needs the token."""
    options = service.options
    facts = PageFacts(
        run="" if options.is_private else service.run_name,
        mebibytes=options.max_upload / (1 << 20),
        megapixels=service.max_pixels / 1e6,
    )
    return HTMLResponse(environment.get_template("page.html").render(page=facts))


@page.get("/favicon.ico")
async def show_icon() -> Response:
    """Say that there is none: the page names its own."""
    return Response(status_code=204)


class PageFiles(StaticFiles):
    """What the page loads: kept by browsers, which ask each time whether it has changed."""

    def __init__(self) -> None:
        """Serve the folder static/."""
        super().__init__(directory=STATIC)

    def file_response(self, full_path: Any, *more: Any, **options: Any) -> Response:
        """Return a file, or that it has not changed."""
        response = super().file_response(full_path, *more, **options)
        response.headers["Cache-Control"] = "no-cache"
        if "content-type" in response.headers:
            response.headers["Content-Type"] = f"{TYPES[Path(full_path).suffix]}; charset=utf-8"
        return response
