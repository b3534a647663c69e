"""Make docs/images/page.jpg: the page of a server that has answered a photo of the demo city.

`python -m tests.page_picture` needs what `make submission` makes, and Chromium (`make browser`).
"""

import argparse
import io
import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from pipelines.recognizer import Recognizer

from .browser import MISSING, NAMES, wait_until
from .servers import serving

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "page.jpg"
RUN, PHOTO = Path("runs/demo"), "41d3bfc91e41a0ca"
WIDTH, SCALE, MARGIN = 1120, 1.25, 12  # of the window, of the picture, and below the photos
QUALITY = 80  # of JPEG


def photograph(page: Page, url: str, photo: Path) -> bytes:
    """Return a PNG file of the page when it has answered a photo."""
    page.goto(url)
    expect(page.locator("#landmarks li").first).to_be_visible()
    page.locator("#file").set_input_files(photo)
    page.locator("#gallery li").first.wait_for()
    loaded = "every((image) => image.naturalWidth > 1)"
    wait_until(page, f"[...document.querySelectorAll('#gallery img')].{loaded}")
    first = page.locator("#gallery li").first.bounding_box()
    assert first is not None
    bottom = first["y"] + first["height"] + MARGIN
    return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom})


def main() -> None:
    """Serve a run, ask about a photo of its dataset, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--photo", default=PHOTO, help="id of a photo of its dataset")
    parser.add_argument("--into", type=Path, default=PICTURE)
    chosen = parser.parse_args()
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        parser.error(MISSING)
    photo = Recognizer.load(chosen.run).opened.data / "images" / f"{chosen.photo}.jpg"
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with serving(chosen.run) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(
            viewport={"width": WIDTH, "height": WIDTH}, device_scale_factor=SCALE
        )
        written = photograph(page, served.url, photo)
        browser.close()
    image = Image.open(io.BytesIO(written)).convert("RGB")
    image.save(chosen.into, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    print(f"wrote {chosen.into}, {chosen.into.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
