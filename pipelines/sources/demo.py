"""Make a dataset of nothing: render the demo city, and its contact sheet."""

import logging
from pathlib import Path

from embed.files import writing
from pipelines.datasets.origin import claim
from pipelines.decorations import draw
from pipelines.progress import progress_to
from pipelines.sources.city.contact_sheet import contact_sheet
from pipelines.sources.city.dataset import render_city
from pipelines.sources.city.plan import CityPlan

logger = logging.getLogger(__name__)


def render_demo(folder: Path, *, seed: int = 0) -> None:
    """Render the demo city into a folder, or what is missing of it, and its contact sheet.

    Raises:
        FileExistsError: the folder holds another dataset, or the city of another seed.
    """
    claim(folder, {"demo city": {"seed": seed}})
    if (folder / "train.csv").is_file():
        logger.info("the demo city is in %s already", folder)
    else:
        logger.info("rendering the demo city into %s", folder)
        with progress_to("render the demo city") as move:
            render_city(folder, CityPlan(), seed=seed, report=move)
    sheet = folder / "contact_sheet.jpg"
    if not sheet.is_file() and draw(sheet, lambda: _draw_sheet(folder, sheet)):
        logger.info("rendered the demo city; have a look at %s", sheet)


def _draw_sheet(folder: Path, sheet: Path) -> None:
    with writing(sheet) as temporary:
        contact_sheet(folder, temporary)
