"""The JSON API: the recogniser's answers, typed; changes with a token; errors with a remedy."""

import errno
import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from embed.errors import InputError
from pipelines.recognizer import Recognizer
from pipelines.serve.json_models import JsonAnswer, JsonAnswers
from pipelines.serve.options import ServeOptions
from tests.conftest import Tiny
from tests.datasets import SIDE, view
from tests.servers import BEARER, Served, move_run, serving

NEW = 77  # seed of a texture that the dataset lacks


@pytest.fixture(scope="module")
def served(finished: Tiny) -> Iterator[Served]:
    with serving(finished.run) as server:
        yield server


@pytest.fixture(scope="module")
def changing(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server of a run that may be changed."""
    folder = tmp_path_factory.mktemp("changing")
    shutil.copytree(finished.data, folder / "data")
    shutil.copytree(finished.run, folder / "run")
    move_run(folder / "run", folder / "data")
    with serving(folder / "run") as server:
        yield server


def photo_of(finished: Tiny, image_id: str) -> bytes:
    return (finished.data / "images" / f"{image_id}.jpg").read_bytes()


def encode(pixels: Any, kind: str = "JPEG", **options: Any) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind, **options)
    return written.getvalue()


def post(served: Served, path: str, data: bytes, **query: Any) -> httpx2.Response:
    headers = {"Content-Type": "image/jpeg"}
    return served.client.post(path, content=data, params=query, headers=headers)


def test_a_photo_gets_the_answer_of_the_recognizer(served: Served, finished: Tiny) -> None:
    data = photo_of(finished, "q1")
    response = post(served, "/v1/recognize", data, neighbors=3)
    expected = Recognizer.load(finished.run).recognize(data, neighbors=3)
    (answer,) = response.json()["answers"]
    assert response.status_code == 200
    assert answer == JsonAnswer.model_validate(expected.to_json()).model_dump(mode="json")
    assert len(answer["neighbors"]) == 3


def test_the_typed_answer_has_the_fields_of_an_answer(finished: Tiny) -> None:
    answer = Recognizer.load(finished.run).recognize(photo_of(finished, "q0"))
    assert set(JsonAnswer.model_fields) == set(answer.to_json())


def test_several_photos_of_a_form_are_answered_in_their_order(
    served: Served, finished: Tiny
) -> None:
    names = ["thing1-0", "thing4-2", "thing0-1"]
    files = [("photo", (f"{name}.jpg", photo_of(finished, name), "image/jpeg")) for name in names]
    files.insert(1, ("photo", ("page.jpg", b"<html>", "image/jpeg")))
    answers = served.client.post("/v1/recognize", files=files).json()["answers"]
    assert [answer["label"] for answer in answers] == [1, None, 4, 0]
    assert answers[0]["image"] == "thing1-0.jpg"
    assert "not_an_image" in answers[1]["error"]


def test_a_form_that_is_cut_off_is_told(served: Served, finished: Tiny) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    whole = head + photo_of(finished, "q0") + b"\r\n--b--\r\n"
    codes = []
    for data in (whole, whole[:-9], whole[: len(whole) // 2]):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        response = served.client.post("/v1/recognize", content=data, headers=headers)
        codes.append((response.status_code, "is cut off" in response.text))
    assert codes == [(200, False), (422, True), (422, True)]


def test_heads_are_answered_and_nothing_leads_to_another_host(served: Served) -> None:
    for path in ("/", "/v1/health"):
        response = served.client.head(path)
        assert (response.status_code, response.content) == (200, b"")
    assert served.client.get("/v1/landmarks/", follow_redirects=False).status_code == 404


def test_a_box_is_the_part_that_is_meant(served: Served, finished: Tiny) -> None:
    canvas = np.full((SIDE, 3 * SIDE, 3), 128, dtype=np.uint8)
    canvas[:, 2 * SIDE :] = view(3, 0)
    box = f"{2 * SIDE},0,{3 * SIDE},{SIDE}"
    (answer,) = post(served, "/v1/recognize", encode(canvas), box=box).json()["answers"]
    assert answer["label"] == 3
    assert min(x for x, _ in answer["region"]) >= 2 * SIDE


def test_neighbours_are_those_of_the_recognizer(served: Served, finished: Tiny) -> None:
    data = photo_of(finished, "q2")
    found = post(served, "/v1/neighbors", data, k=4).json()["neighbors"]
    expected = Recognizer.load(finished.run).neighbors(data, 4)
    assert [each["image_id"] for each in found] == [match.image_id for match in expected]


def test_match_lines_join_points_inside_both_photos(served: Served, finished: Tiny) -> None:
    data = photo_of(finished, "thing2-1")
    found = post(served, "/v1/compare", data, image_id="thing2-1").json()
    assert found["verified"]
    assert found["stored_size"] == [SIDE, SIDE]
    assert found["points"] == found["stored_points"]  # the same photo
    assert all(0 <= value < SIDE for point in found["points"] for value in point)
    for unknown in ("../../etc/passwd", "x" * 9000):
        missing = post(served, "/v1/compare", data, image_id=unknown)
        assert missing.status_code == 404
        assert "no photo" in missing.json()["error"]
        assert len(missing.text) < 400
        assert str(finished.run) not in missing.text


def test_a_database_photo_is_encoded_anew(served: Served) -> None:
    response = served.client.get("/v1/photos/thing0-0")
    assert response.headers["Content-Type"] == "image/jpeg"
    image = Image.open(io.BytesIO(response.content))
    assert image.size == (SIDE, SIDE)
    assert not image.getexif()


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Frun.json", "%2Fetc%2Fpasswd", "q0"])
def test_other_files_are_not_shown(name: str, served: Served) -> None:
    response = served.client.get(f"/v1/photos/{name}")
    assert response.status_code == 404
    assert "no such photo" in response.json()["error"]


def test_landmarks_are_listed_and_searched(served: Served) -> None:
    whole = served.client.get("/v1/landmarks").json()
    assert (whole["total"], len(whole["landmarks"])) == (6, 6)
    two = {"label": 2, "name": "Thing 2", "photos": 4, "image_id": "thing2-0"}
    assert whole["landmarks"][2] == two
    found = served.client.get("/v1/landmarks", params={"search": "thing 5"}).json()
    assert [each["label"] for each in found["landmarks"]] == [5]
    part = served.client.get("/v1/landmarks", params={"offset": 4, "limit": 1}).json()
    assert [each["label"] for each in part["landmarks"]] == [4]


def test_a_list_and_a_change_wait_for_no_question(finished: Tiny) -> None:
    recognizer = Recognizer.load(finished.run)
    with ThreadPoolExecutor(1) as pool:  # a server is asked all the time
        listed = recognizer._ask(lambda opened: pool.submit(recognizer.landmarks).result(30))
    assert len(listed) == 6


def test_the_document_describes_what_is_answered(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/recognize", "/v1/landmarks", "/v1/health", "/metrics"}
    answer = document["components"]["schemas"]["JsonAnswer"]
    assert all("description" in answer["properties"][name] for name in ("image", "region", "top"))
    for example in document["components"]["schemas"]["JsonAnswers"]["examples"]:
        JsonAnswers.model_validate(example)
    responses = document["paths"]["/v1/recognize"]["post"]["responses"]
    assert {"200", "401", "413", "415", "422", "429"} <= set(responses)


def test_counters_are_those_of_this_server(served: Served, finished: Tiny) -> None:
    post(served, "/v1/recognize", photo_of(finished, "q0"))
    text = served.client.get("/metrics").text
    assert 'cairn_requests_total{route="/v1/recognize",status="200"}' in text
    assert "cairn_batch_photos_count" in text
    assert 'cairn_answers_total{kind="known"}' in text


def test_what_is_added_is_found_and_what_is_removed_is_not(
    changing: Served, finished: Tiny
) -> None:
    files = [
        ("photo", ("../../outside.jpg", encode(view(NEW, n), quality=95), "image/jpeg"))
        for n in range(3)
    ]
    form = {"name": "Æon <b>tower</b>"}
    added = changing.client.post("/v1/landmarks", files=files, data=form, headers=BEARER)
    assert added.status_code == 200, added.text
    (landmark,) = added.json()["added"]
    assert (landmark["name"], landmark["new"], len(landmark["image_ids"])) == (
        form["name"],
        True,
        3,
    )
    assert all(image_id.startswith("photos-") for image_id in landmark["image_ids"])
    query = encode(view(NEW, 9), quality=95)
    (answer,) = post(changing, "/v1/recognize", query).json()["answers"]
    assert answer["guess"] == landmark["label"]
    assert changing.client.get(f"/v1/photos/{landmark['image_ids'][0]}").status_code == 200
    again = changing.client.post("/v1/landmarks", files=files[:1], data=form, headers=BEARER).json()
    assert (again["added"], again["known"]) == ([], landmark["image_ids"][:1])
    one = changing.client.delete(f"/v1/photos/{landmark['image_ids'][0]}", headers=BEARER).json()
    assert one == {"removed": {str(landmark["label"]): 1}, "left": {str(landmark["label"]): 2}}
    path = f"/v1/landmarks/{landmark['label']}"
    assert changing.client.delete(path, headers=BEARER).status_code == 200
    (answer,) = post(changing, "/v1/recognize", query).json()["answers"]
    assert answer["guess"] != landmark["label"]
    assert changing.client.delete(path, headers=BEARER).status_code == 404
    assert changing.client.delete("/v1/photos/nope", headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "name or label"),
        ({"label": "-1"}, "whole number"),
        ({"label": "99999999999999999999"}, "whole number"),
        ({"label": "5", "name": "Thing 4"}, "Thing 4"),
        ({"label": "5000"}, "no landmark 5000"),
        ({"name": "x" * 201}, "200 characters"),
        ({"name": "\u200b"}, "none that can be seen"),
    ],
)
def test_what_cannot_be_added_is_refused(
    form: dict[str, str], says: str, changing: Served, finished: Tiny
) -> None:
    files = {"photo": ("a.jpg", photo_of(finished, "q0"), "image/jpeg")}
    response = changing.client.post("/v1/landmarks", files=files, data=form, headers=BEARER)
    assert response.status_code == 422
    assert says in response.json()["error"]


def test_a_photo_that_cannot_be_added_is_named_as_it_was_sent(
    changing: Served, finished: Tiny
) -> None:
    files = [("photo", ("torn.jpg", photo_of(finished, "q0")[:500], "image/jpeg"))]
    refused = changing.client.post(
        "/v1/landmarks", files=files, data={"name": "New"}, headers=BEARER
    )
    assert refused.status_code == 422
    assert "torn.jpg: " in refused.json()["error"]
    assert tempfile.gettempdir() not in refused.text
    files.append(("photo", ("known.jpg", photo_of(finished, "thing0-0"), "image/jpeg")))
    done = changing.client.post("/v1/landmarks", files=files, data={"label": "0"}, headers=BEARER)
    assert done.json()["errors"][0].startswith("torn.jpg: ")


@pytest.mark.parametrize("error", [PermissionError(errno.EROFS, "no"), FileNotFoundError("gone")])
def test_a_run_that_cannot_be_written_is_no_fault_of_the_caller(
    error: OSError, changing: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.open

    def fail(path: Path, *mode: Any, **options: Any) -> Any:
        if path.name == ".lock":
            raise error
        return whole(path, *mode, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", fail)
        response = changing.client.delete("/v1/landmarks/0", headers=BEARER)
    assert response.status_code == 503
    assert "cannot read or write its run" in response.json()["error"]


def test_answers_are_of_one_generation_while_others_change_it(
    changing: Served, finished: Tiny
) -> None:
    stop, wrong, codes = threading.Event(), list[Any](), set[int]()
    query = encode(view(NEW + 1, 9), quality=95)

    def ask() -> None:
        with httpx2.Client(base_url=changing.url, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                response = client.post(
                    "/v1/recognize", content=query, headers={"Content-Type": "image/jpeg"}
                )
                codes.add(response.status_code)
                if response.status_code != 200:
                    wrong.append(response.text)
                    continue
                (answer,) = response.json()["answers"]
                photos = {each["image_id"] for each in answer["neighbors"]}
                new = [each for each in answer["neighbors"] if each["name"] == "Moving"]
                if new and answer["guess"] != new[0]["label"]:
                    wrong.append(answer)
                if len(photos) != len(answer["neighbors"]):
                    wrong.append(photos)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(3):
            data = encode(view(NEW + 1, 1), quality=95)
            files = {"photo": ("a.jpg", data, "image/jpeg")}
            form = {"name": "Moving"}
            added = changing.client.post("/v1/landmarks", files=files, data=form, headers=BEARER)
            assert added.status_code == 200, added.text
            label = added.json()["added"][0]["label"]
            gone = changing.client.delete(f"/v1/landmarks/{label}", headers=BEARER)
            assert gone.status_code == 200, gone.text
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert (codes, wrong) == ({200}, [])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"token": "short"}, "token"),
        ({"token": "ä" * 20}, "ASCII"),
        ({"port": 70_000}, "port"),
        ({"origins": ("example.org",)}, "https://example.org"),
        ({"queue": 0}, "queue"),
        ({"max_upload": 0}, "upload"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ServeOptions(**options)


def test_only_this_machine_is_local() -> None:
    hosts = {"127.0.0.1": True, "localhost": True, "::1": True, "0.0.0.0": False, "example": False}
    assert {host: ServeOptions(host=host).is_local for host in hosts} == hosts
    assert ServeOptions(names=("cairn.example",)).is_private
    assert not ServeOptions().is_private
    assert asdict(ServeOptions())["token"] != asdict(ServeOptions())["token"]
