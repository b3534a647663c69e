"""The page in a real browser: ask, look at matches, crop, add, remove; a phone; the keyboard."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright", reason="playwright is not installed: pip install -e '.[dev]'")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.browser import browser, page, wait_until
from tests.conftest import Tiny
from tests.datasets import SIDE, view
from tests.servers import TOKEN, Served, move_run, serving

__all__ = ["browser", "page"]  # fixtures

NEW = 177  # seed of a texture that the dataset lacks


@pytest.fixture(scope="module")
def served(
    browser: Browser, finished: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Return a server of a copy of a run; without a browser, none is started."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(finished.data, folder / "data")
    shutil.copytree(finished.run, folder / "run")
    move_run(folder / "run", folder / "data")
    with serving(folder / "run") as running:
        yield running


@pytest.fixture
def opened(page: Page, served: Served) -> Page:
    """Return the page as the printed link opens it."""
    page.goto(f"{served.url}/#token={TOKEN}")
    expect(page.locator("#landmarks li").first).to_be_visible()
    return page


def payload(pixels: Any, name: str = "photo.png", kind: str = "PNG") -> FilePayload:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": written.getvalue()}


def choose(page: Page, file: FilePayload | Path) -> None:
    page.locator("#file").set_input_files(file)


def title(page: Page) -> Any:
    return page.locator("#answer h2")


def check_access(page: Page) -> None:
    """Let axe-core look for what people with a screen reader or weak eyes would stumble over."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_photo_gets_its_landmark_and_the_matches_are_shown(opened: Page, finished: Tiny) -> None:
    check_access(opened)
    choose(opened, finished.data / "images" / "thing3-1.jpg")
    expect(title(opened)).to_have_text("Thing 3")
    expect(opened.locator("#overlay polygon")).to_have_count(1)
    expect(opened.locator("#gallery li")).to_have_count(8)
    check_access(opened)
    opened.locator("#gallery button").first.click()
    expect(opened.locator("#match-view svg")).to_be_visible()
    assert opened.locator("#match-view line").count() > 50
    expect(opened.locator("#match-note")).to_contain_text("more than chance gives")
    check_access(opened)
    opened.keyboard.press("Escape")
    expect(opened.locator("#match")).to_be_hidden()
    assert "token" not in opened.url  # nobody reads it over a shoulder, or in the history


def test_a_part_is_asked_about_by_mouse_and_by_keyboard(opened: Page) -> None:
    canvas = np.full((SIDE, 3 * SIDE, 3), 128, dtype=np.uint8)
    canvas[:, :SIDE], canvas[:, 2 * SIDE :] = view(1, 0), view(4, 0)
    choose(opened, payload(canvas))
    expect(title(opened)).to_be_visible()
    wait_until(opened, "document.getElementById('shown').naturalWidth > 0")
    shown = opened.locator("#shown").bounding_box()
    assert shown is not None
    right, bottom = shown["x"] + shown["width"], shown["y"] + shown["height"]
    opened.mouse.move(right - 4, shown["y"] + 4)  # the corner itself is round
    opened.mouse.down()
    opened.mouse.move(right - shown["width"] / 3, bottom - 4, steps=3)
    opened.mouse.up()
    opened.locator("#part").click()
    expect(title(opened)).to_have_text("Thing 4")
    expect(opened.locator("#overlay rect")).to_have_count(1)
    opened.locator("#crop").focus()
    opened.keyboard.press("Enter")
    expect(opened.locator("#box")).to_be_focused()
    for key, times in (("ArrowLeft", 10), ("ArrowUp", 10), ("Shift+ArrowLeft", 11)):
        for _ in range(times):
            opened.keyboard.press(key)
    for _ in range(6):
        opened.keyboard.press("Shift+ArrowDown")
    check_access(opened)
    opened.keyboard.press("Enter")
    expect(title(opened)).to_have_text("Thing 1")
    expect(opened.locator("#history li")).to_have_count(3)
    opened.locator("#history button").nth(1).click()
    expect(title(opened)).to_have_text("Thing 4")


def test_a_landmark_is_added_found_and_removed_in_two_tabs(
    opened: Page, browser: Browser, served: Served
) -> None:
    choose(opened, payload(view(NEW, 0)))
    expect(title(opened)).to_be_visible()
    opened.locator("#add summary").click()
    opened.get_by_label("What it shows").fill("Old <i>mill</i>")
    opened.get_by_role("button", name="Add", exact=True).click()
    expect(opened.locator("#status")).to_have_text("Added to Old <i>mill</i>.")
    with browser.new_page() as other:
        other.goto(served.url)  # without the token
        choose(other, payload(view(NEW, 0)))
        expect(title(other)).to_have_text("Old <i>mill</i>")
        other.get_by_label("Search landmarks").fill("mill")
        other.get_by_role("button", name="Remove Old").click()
        other.locator("#confirm").get_by_role("button", name="Remove").click()
        check_access(other)
        other.get_by_label("Token of the server").fill(TOKEN)
        other.get_by_role("button", name="Go on").click()
        expect(other.locator("#status")).to_have_text("Removed Old <i>mill</i>.")
        expect(other.locator("#status")).to_be_in_viewport()
        expect(other.locator("#search")).to_be_focused()
        expect(other.locator("#landmarks li")).to_have_count(0)
    choose(opened, payload(view(NEW, 0)))
    expect(opened.locator("#history li")).to_have_count(2)
    expect(title(opened)).not_to_have_text("Old <i>mill</i>")


def test_what_shows_nothing_known_is_told(opened: Page) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    choose(opened, payload(noise))
    expect(title(opened)).to_have_text("No known landmark")


def test_a_page_named_jpg_is_no_photo(opened: Page) -> None:
    html = b"<html><script>document.title = 'run'</script></html>"
    choose(opened, {"name": "<b>a</b>.jpg", "mimeType": "image/jpeg", "buffer": html})
    expect(opened.locator("#problem")).to_contain_text("not_an_image")
    expect(opened.locator("#problem")).to_contain_text("<b>a</b>.jpg")
    expect(opened.locator("#result")).to_be_hidden()
    assert "Cairn" in opened.title()


def test_a_photo_of_40_megapixels_is_answered(opened: Page) -> None:
    large = Image.fromarray(view(2, 0)).resize((6400, 6400), Image.Resampling.NEAREST)
    choose(opened, payload(np.asarray(large), "large.jpg", "JPEG"))
    expect(title(opened)).to_have_text("Thing 2")


def test_a_photo_is_dropped_and_pasted(opened: Page, finished: Tiny) -> None:
    data = list((finished.data / "images" / "thing0-1.jpg").read_bytes())
    make = """([data, kind]) => {
      const carried = new DataTransfer();
      carried.items.add(new File([new Uint8Array(data)], "a.jpg", { type: "image/jpeg" }));
      const values = { bubbles: true, cancelable: true };
      document.body.dispatchEvent(kind === "drop"
        ? new DragEvent("drop", { ...values, dataTransfer: carried })
        : new ClipboardEvent("paste", { ...values, clipboardData: carried }));
    }"""
    for number, kind in enumerate(("drop", "paste"), 1):
        opened.evaluate(make, [data, kind])
        expect(opened.locator("#history li")).to_have_count(number)
        expect(title(opened)).to_have_text("Thing 0")


def test_a_phone_shows_all_of_it(browser: Browser, served: Served, finished: Tiny) -> None:
    phone: Any = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with browser.new_page(**phone, color_scheme="dark") as small:
        small.goto(served.url)
        assert small.locator("#camera").get_attribute("capture") == "environment"
        choose(small, finished.data / "images" / "thing5-1.jpg")
        expect(title(small)).to_have_text("Thing 5")
        small.locator("#gallery button").first.tap()
        expect(small.locator("#match-view svg")).to_be_visible()
        assert small.evaluate("document.documentElement.scrollWidth") <= 360
        check_access(small)
        small.locator("[data-close]").tap()
        small.locator("#theme").tap()
        assert small.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        check_access(small)


def test_a_token_that_is_wrong_is_told_until_it_is_right(page: Page, finished: Tiny) -> None:
    with serving(finished.run, names=("cairn.example",)) as private:  # the list needs it, too
        page.goto(f"{private.url.replace('127.0.0.1', 'localhost')}/#token=t%C3%B6ken")
        for wrong, says in (("t\u00f6ken \u2013 x", "ASCII"), ("a-wrong-token", "is wrong")):
            page.get_by_label("Token of the server").fill(wrong)
            page.get_by_role("button", name="Go on").click()
            expect(page.locator("#token-problem")).to_contain_text(says)
        check_access(page)
        page.get_by_role("button", name="Cancel").click()
        choose(page, finished.data / "images" / "thing3-1.jpg")
        page.get_by_label("Token of the server").fill(TOKEN)
        page.get_by_role("button", name="Go on").click()
        expect(title(page)).to_have_text("Thing 3")
        expect(page.locator("#landmarks li")).to_have_count(6)
        page.wait_for_load_state("networkidle")  # photos are still asked for


def test_of_two_comparisons_the_last_is_shown(opened: Page, finished: Tiny) -> None:
    choose(opened, finished.data / "images" / "thing3-1.jpg")
    tiles = opened.locator("#gallery button")
    expect(tiles).to_have_count(8)
    held: list[Route] = []
    opened.route("**/v1/compare*", lambda route: route.continue_() if held else held.append(route))
    with opened.expect_request("**/v1/compare*"):
        tiles.nth(0).click()
    opened.keyboard.press("Escape")
    tiles.nth(7).click()
    expect(opened.locator("#match-view svg")).to_be_visible()
    shown = opened.locator("#match-note").inner_text()
    with opened.expect_response("**/v1/compare*"):
        held[0].continue_()
    opened.wait_for_timeout(300)
    assert opened.locator("#match-note").inner_text() == shown


def test_a_tiny_photo_leaves_room_for_its_tools(opened: Page) -> None:
    choose(opened, payload(view(1, 0)[:90, :4]))
    expect(title(opened)).to_be_visible()
    tools = opened.locator("#figure .tools").bounding_box()
    assert tools is not None
    assert tools["width"] >= 200


def test_more_landmarks_are_shown_on_request(page: Page, served: Served) -> None:
    def answer(route: Route) -> None:
        limit = int(route.request.url.rpartition("limit=")[2])
        each = {"name": None, "photos": 1, "image_id": "thing0-0"}
        listed = [{"label": label, **each} for label in range(min(limit, 30))]
        route.fulfill(json={"total": 30, "landmarks": listed})

    page.route("**/v1/landmarks*", answer)
    page.goto(served.url)
    expect(page.locator("#found")).to_have_text("30 in the database")
    expect(page.locator("#landmarks li")).to_have_count(12)
    wait_until(page, "document.querySelector('#landmarks img').naturalWidth > 1")
    page.locator("#more").click()
    expect(page.locator("#landmarks li")).to_have_count(30)
    expect(page.locator("#more")).to_be_hidden()
    page.wait_for_load_state("networkidle")
