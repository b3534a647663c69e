"""What the page loads is served whole, of types that browsers run, and nothing beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.serve.page import STATIC, TYPES
from tests.conftest import Tiny
from tests.servers import Served, serving

FILES = sorted(path.name for path in STATIC.iterdir())
TEMPLATE = STATIC.with_name("templates") / "page.html"


@pytest.fixture(scope="module")
def served(finished: Tiny) -> Iterator[Served]:
    with serving(finished.run) as running:
        yield running


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_served_with_its_type_and_asked_for_again(name: str, served: Served) -> None:
    response = served.client.get(f"/static/{name}")
    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["Content-Type"] == f"{TYPES[Path(name).suffix]}; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    again = served.client.get(
        f"/static/{name}", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_loads_all_files_and_no_others() -> None:
    named = set(re.findall(r'/static/([^"]+)"', TEMPLATE.read_text()))
    waiting = [name for name in named if name.endswith(".js")]
    while waiting:
        text = (STATIC / waiting.pop()).read_text()
        for name in re.findall(r'from "\./([^"]+)"', text):
            if name not in named:
                named.add(name)
                waiting.append(name)
    assert sorted(named) == FILES


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_a_script_is_short_and_puts_nothing_in_as_html(name: str) -> None:
    text = (STATIC / name).read_text()
    assert text.startswith("// ")
    assert len(text.splitlines()) < 300
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
