"""Stage `data`: make a dataset folder.

Of nothing (the rendered demo city) or of a folder a class. Writes the dataset folder.
"""

import logging
from pathlib import Path

from .city.contact_sheet import contact_sheet
from .city.dataset import render_city
from .city.plan import CityPlan
from .progress import progress_to

logger = logging.getLogger(__name__)


def render_demo(folder: Path, *, seed: int = 0) -> None:
    """Render the demo city into a folder, or what is missing of it, and its contact sheet.

    Raises:
        FileExistsError: the folder holds another dataset.
    """
    sheet = folder / "contact_sheet.jpg"
    if (folder / "train.csv").is_file():
        if not sheet.is_file():
            raise FileExistsError(
                f"{folder} holds another dataset; name an empty folder for the demo: --data"
            )
        logger.info("data: the demo city is there")
        return
    with progress_to("render the demo city") as move:
        render_city(folder, CityPlan(), seed=seed, report=move)
    contact_sheet(folder, sheet)
    logger.info("data: rendered the demo city into %s; have a look at %s", folder, sheet)
