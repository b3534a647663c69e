"""What a client is told can be done over HTTP; what it cannot mend is told in the log alone."""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from embed.errors import InputError, MissingFileError, NotFoundError, RequestError
from pipelines.recognizer import Recognizer
from pipelines.serve.service import refuse
from tests.conftest import Tiny
from tests.datasets import view
from tests.servers import BEARER, Served, move_run, serving
from tests.test_pipelines_serve_api import encode

COMMANDS = re.compile(r"cairn [a-z]|--[a-z]|WEIGHTS|recipe")


@pytest.fixture(scope="module")
def folder(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of a dataset and of its run."""
    made = tmp_path_factory.mktemp("errors")
    shutil.copytree(finished.data, made / "data")
    shutil.copytree(finished.run, made / "run")
    move_run(made / "run", made / "data")
    return made


@pytest.fixture(scope="module")
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.load(folder / "run")


@pytest.fixture(scope="module")
def served(recognizer: Recognizer) -> Iterator[Served]:
    with serving(recognizer) as running:
        yield running


def check(response: httpx2.Response, folder: Path) -> str:
    """Return the error; it names neither commands nor files of the server."""
    error: str = response.json()["error"]
    assert not COMMANDS.search(error), error
    assert str(folder) not in error
    return error


PHOTO = encode(view(1, 0))
BODY: dict[str, Any] = {"content": PHOTO, "headers": {"Content-Type": "image/jpeg"}}
TORN: dict[str, Any] = {"content": PHOTO[:400], "headers": {"Content-Type": "image/jpeg"}}


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "says"),
    [
        ("DELETE", "/v1/landmarks/4711", {"headers": BEARER}, 404, "GET /v1/landmarks"),
        ("DELETE", "/v1/landmarks/0_1", {"headers": BEARER}, 422, "whole number"),
        ("DELETE", "/v1/landmarks/1.0", {"headers": BEARER}, 422, "whole number"),
        ("DELETE", "/v1/photos/nope", {"headers": BEARER}, 404, "GET /v1/landmarks"),
        ("GET", "/v1/photos/nope", {}, 404, "POST /v1/neighbors"),
        ("POST", "/v1/compare?image_id=nope", BODY, 404, "POST /v1/neighbors"),
        ("POST", "/v1/recognize", TORN, 422, "truncated"),
        ("POST", "/v1/recognize?box=900,900,990,990", BODY, 422, "left, top, right, bottom"),
        ("GET", "/v1/nothing", {}, 404, "GET /openapi.json"),
        ("GET", "/v1/recognize", {}, 405, "GET /openapi.json"),
        ("GET", "/v1/health", {"headers": {"Host": "evil.example"}}, 421, "runs it"),
        ("POST", "/v1/recognize", {"headers": {"Origin": "https://a.example"}}, 403, "runs it"),
        ("DELETE", "/v1/landmarks/1", {}, 401, "Authorization: Bearer"),
    ],
)
def test_errors_name_what_can_be_done_over_http(
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
    says: str,
    served: Served,
    folder: Path,
) -> None:
    response = served.client.request(method, path, **options)
    assert response.status_code == status
    assert says in check(response, folder)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"name": "_none"}, "name what they show"),
        ({"label": "4711"}, "name=NAME"),
        ({"label": "1", "name": "Thing 2"}, "leave the name away"),
        ({"label": "4711", "name": "\u202eThing 1\u202c"}, "Thing 1 is landmark 1"),  # looks alike
    ],
)
def test_what_cannot_be_added_is_told_in_fields_of_the_form(
    form: dict[str, str], says: str, served: Served, folder: Path
) -> None:
    files = {"photo": ("a.jpg", PHOTO, "image/jpeg")}
    response = served.client.post("/v1/landmarks", files=files, data=form, headers=BEARER)
    assert response.status_code == 422
    assert says in check(response, folder)


def test_a_database_photo_that_is_gone_is_told_without_its_path(
    served: Served, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "data" / "images" / "thing3-0.jpg").write_bytes(b"damaged")
    (folder / "data" / "images" / "thing3-2.jpg").unlink()
    for image_id in ("thing3-0", "thing3-2"):
        response = served.client.get(f"/v1/photos/{image_id}")
        assert response.status_code == 404
        assert "gone or damaged" in check(response, folder)
    assert "thing3-0.jpg" in caplog.text


@pytest.mark.parametrize("name", ["recognize", "compare", "add"])
def test_what_is_wrong_with_the_run_is_told_in_the_log_alone(
    name: str,
    served: Served,
    recognizer: Recognizer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    message = f"{folder}/run/index is damaged; make it anew: cairn index --redo --run {folder}/run"

    def fail(*_: Any, **__: Any) -> Any:
        raise InputError(message)

    monkeypatch.setattr(recognizer, name, fail)
    files = {"photo": ("a.jpg", PHOTO, "image/jpeg")}
    path = {"add": "landmarks", "compare": "compare?image_id=thing0-0"}.get(name, name)
    form = {"name": "Mill"}
    response = served.client.post(f"/v1/{path}", files=files, data=form, headers=BEARER)
    assert response.status_code == 503
    assert "whoever runs it" in check(response, folder)
    assert message in caplog.text


def test_only_errors_of_requests_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    raised = InputError("x"), MissingFileError("x"), RequestError("x", "y"), NotFoundError("x")
    assert [refuse(error).status_code for error in raised] == [503, 503, 422, 404]
    assert refuse(RequestError("x", "y")).detail == "x\ny"


def test_a_run_that_was_damaged_is_told_by_every_route(
    served: Served, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = folder / "run" / "index" / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:50])
    try:
        for path in ("landmarks", "photos/thing0-0"):
            response = served.client.get(f"/v1/{path}")
            assert response.status_code == 503
            assert "whoever runs it" in check(response, folder)
    finally:
        manifest.write_bytes(whole)
    assert "is damaged" in caplog.text
    assert "Traceback" not in caplog.text
