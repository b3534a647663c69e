"""Drive the Chromium of the system, for tests of the page."""

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "there is no Chromium; install it: make browser"
PATIENCE = 30_000  # milliseconds, of a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser without windows; skip where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(MISSING)
    # As root, Chromium starts without its sandbox alone; it sees pages of the tests and no others.
    expect.set_options(timeout=PATIENCE)
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=flags)
        yield launched
        launched.close()


def wait_until(page: Page, condition: str) -> None:
    """Wait until an expression is true: the page's CSP forbids what Playwright's own wait does."""
    ends = time.monotonic() + PATIENCE / 1e3
    while not page.evaluate(condition):
        assert time.monotonic() < ends, condition
        page.wait_for_timeout(50)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page that may complain of nothing: no error of a script, nothing refused by CSP."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(PATIENCE)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text))
    yield opened
    opened.close()
    # Chromium reports each refused request there, too: those are told on the page.
    assert [error for error in errors if "status of 4" not in error] == []
