"""The page: one template, one script, one style sheet. The script asks the JSON API."""

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from .api import Asked

page = APIRouter(include_in_schema=False)
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
