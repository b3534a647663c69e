"""What a server refuses: too much, too slow, too many, from the wrong place, or no photo at all."""

import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from pipelines.recognizer import Recognizer
from pipelines.serve import guard, server
from pipelines.serve.options import ServeOptions
from pipelines.serve.refusal import Refusal
from tests.conftest import Tiny
from tests.servers import BEARER, TOKEN, Served, read_all, serving

LIMIT = 300_000  # bytes of an upload
MOST_PIXELS = 1_000_000


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Recognizer:
    return Recognizer.load(finished.run)


@pytest.fixture(scope="module")
def served(recognizer: Recognizer) -> Iterator[Served]:
    limits: dict[str, Any] = {"max_upload": LIMIT, "max_pixels": MOST_PIXELS, "upload_time": 0.6}
    with serving(recognizer, **limits) as running:
        yield running


def png(width: int, height: int, data: bytes) -> bytes:
    """Return a PNG file that says its size and has any content."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def jpeg(side: int = 64) -> bytes:
    written = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(written, "JPEG")
    return written.getvalue()


def ask(served: Served, data: bytes, kind: str = "image/jpeg", **more: Any) -> httpx2.Response:
    return served.client.post("/v1/recognize", content=data, headers={"Content-Type": kind}, **more)


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"", 422, "empty"),
        (b"<html><script>alert(1)</script></html>", 422, "not_an_image"),
        (b"GIF89a" + bytes(100), 422, "GIF"),
        (jpeg()[:300], 422, "truncated"),
        (b"\xff\xd8\xff" + bytes(1000), 422, "; "),
        (png(20_000, 20_000, b""), 413, "megapixels"),
        (png(30_001, 1, b""), 413, "30,001 pixels"),
        (png(2**31 - 1, 2**31 - 1, b""), 413, "megapixels"),
        (png(0, 5, b""), 422, "corrupt"),
        (png(900, 900, bytes(100)), 422, "corrupt"),
        (b"RIFF\x10\0\0\0WEBPVP8X" + bytes(20), 422, "corrupt"),
        (jpeg() + b"PK\x03\x04" + bytes(500), 200, ""),  # a polyglot is the photo that it begins as
    ],
)
def test_what_is_no_photo_is_refused_with_the_reason(
    data: bytes, status: int, says: str, served: Served
) -> None:
    response = ask(served, data)
    assert response.status_code == status, response.text
    assert says in response.json().get("error", "")


def damage(rng: np.random.Generator, data: bytes) -> bytes:
    """Return a photo that was cut, flipped, overwritten, doubled or hidden in another file."""
    place, size = int(rng.integers(len(data))), int(rng.integers(1, 200))
    flipped = bytearray(data)
    for at in rng.integers(0, len(data), 1 + size // 20):
        flipped[at] ^= 1 << int(rng.integers(8))
    made = [
        data[:place],
        bytes(flipped),
        data[:place] + rng.bytes(size) + data[place + size :],
        data[:place] + data,
        b"%PDF-1.4\n" + data,
        data + b"<script>" + data[:size],
        data[:16] + rng.bytes(8) + data[24:],  # the size, in a PNG
    ]
    return made[int(rng.integers(len(made)))]


def test_500_damaged_photos_are_answered_or_refused(served: Served) -> None:
    rng, photos = np.random.default_rng(3), list[bytes]()
    for kind in ("JPEG", "PNG", "WEBP"):
        written = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(written, kind)
        photos.append(written.getvalue())
    counts = [0, 0, 0]
    for _ in range(50):
        ten = [damage(rng, photos[int(rng.integers(3))]) for _ in range(10)]
        files = [("photo", ("a.jpg", data, "image/jpeg")) for data in ten]
        response = served.client.post("/v1/recognize", files=files, params={"neighbors": 0})
        assert response.status_code in (200, 413, 422), response.text
        answers = response.json().get("answers", [])
        counts[0] += sum(not answer["error"] for answer in answers)
        counts[1] += sum(bool(answer["error"]) for answer in answers)
        counts[2] += 10 * (not answers)
        assert all(answer["label"] is None for answer in answers if answer["error"])
    assert sum(counts) == 500
    assert counts[0] > 50  # of what is after a photo, and of flipped pixels
    assert counts[1] > 100


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("application/json", b'{"a": 1}', 415),
        ("text/html", b"<html>", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 422),
        ("multipart/form-data; boundary=b", b"no boundary", 422),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"A: b\r\n" * 500 + b"\r\n--b--", 422),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: x\r\n\r\n\r\n--b--", 422),
    ],
)
def test_other_bodies_are_refused(kind: str, data: bytes, status: int, served: Served) -> None:
    response = ask(served, data, kind)
    assert response.status_code == status, response.text
    assert "send a photo" in response.json()["error"]


def test_too_many_photos_and_fields_are_refused(served: Served) -> None:
    files = [("photo", (f"{n}.jpg", b"x", "image/jpeg")) for n in range(17)]
    assert served.client.post("/v1/recognize", files=files).status_code == 422
    fields = {f"field{n}": "x" for n in range(9)}
    one = {"photo": ("a.jpg", jpeg(), "image/jpeg")}
    refused = served.client.post("/v1/landmarks", files=one, data=fields, headers=BEARER)
    assert refused.status_code == 422
    long = served.client.post("/v1/landmarks", files=one, data={"name": "x" * 5000}, headers=BEARER)
    assert long.status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        {"box": "1,2,3"},
        {"box": "nan,0,1,1"},
        {"box": "5,5,2,2"},
        {"box": "-5,0,2,2"},
        {"box": "900,900,901,901"},
        {"box": "0,0,1e400,5"},
        {"neighbors": "-1"},
        {"neighbors": "1000"},
        {"neighbors": "many"},
    ],
)
def test_values_out_of_range_are_named(query: dict[str, str], served: Served) -> None:
    response = ask(served, jpeg(), params=query)
    assert response.status_code == 422, response.text
    assert next(iter(query)) in response.json()["error"]


def test_a_body_that_says_it_is_too_large_is_refused_unread(served: Served) -> None:
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = served.send(head + b"Content-Length: 104857600\r\n\r\n")
    assert b" 413 " in connection.recv(4096)
    connection.close()


def test_a_body_is_refused_as_soon_as_it_is_too_large(served: Served) -> None:
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    connection = served.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
    part = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for _ in range(LIMIT // 0x10000 + 1):
        connection.sendall(part)
    assert b" 413 " in connection.recv(4096)  # it has not ended
    connection.close()


def test_a_slow_body_is_cut(served: Served) -> None:
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    connection = served.send(head + b"Content-Length: 1000\r\n\r\nabc")
    assert b" 408 " in connection.recv(4096)
    connection.close()


def test_a_slow_head_is_cut(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIME", 0.4)
    with serving(recognizer) as running:
        silent, partial = running.send(b""), running.send(b"GET / HTTP/1.1\r\nHost: loc")
        again = running.send(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET")
        assert read_all(silent) == b""
        assert read_all(partial) == b""
        assert b" 200 " in read_all(again)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    ],
)
def test_heads_that_are_none_are_refused(head: bytes, served: Served) -> None:
    connection = served.send(head)
    assert connection.recv(4096).split(b" ")[1] in (b"400", b"405", b"421")
    connection.close()
    assert served.client.get("/v1/health").status_code == 200


def test_a_huge_head_is_refused(served: Served) -> None:
    connection = served.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
    with contextlib.suppress(ConnectionError):  # it is closed while more comes
        for _ in range(100):
            connection.sendall(b"a" * 0x10000)
    assert b" 200 " not in read_all(connection)
    assert served.client.get("/v1/health").status_code == 200


def test_a_request_that_is_cut_harms_nobody(served: Served) -> None:
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    for rest in (
        b"Content-Length: 1000\r\n\r\nabc",
        b"Content-Le",
        b"Content-Length: 3\r\n\r\nabc",
    ):
        connection = served.send(head + rest)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # with a reset
    assert ask(served, jpeg()).status_code == 200


def test_a_page_of_another_origin_may_not_ask(served: Served) -> None:
    others = "https://evil.example", "http://[", "http://"
    for origin in (*others, "null", f"http://127.0.0.1:{served.port + 1}"):
        response = served.client.post(
            "/v1/recognize",
            content=jpeg(),
            headers={"Content-Type": "image/jpeg", "Origin": origin},
        )
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    own = {"Content-Type": "image/jpeg", "Origin": served.url}
    assert served.client.post("/v1/recognize", content=jpeg(), headers=own).status_code == 200


def test_a_name_that_an_attacker_points_here_is_refused(served: Served) -> None:
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", ""):
        assert served.client.get("/", headers={"Host": host}).status_code == 421
    for host in (f"localhost:{served.port}", f"[::1]:{served.port}", "LOCALHOST"):
        assert served.client.get("/v1/health", headers={"Host": host}).status_code == 200


def test_changes_need_the_token(served: Served) -> None:
    files = {"photo": ("a.jpg", jpeg(), "image/jpeg")}
    bad = [
        {},
        *({"Authorization": text} for text in ("Bearer x", f"Basic {TOKEN}", "Bearer", TOKEN)),
    ]
    for headers in [*bad, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": f"token={TOKEN}"}]:
        added = served.client.post(
            "/v1/landmarks", files=files, data={"name": "x"}, headers=headers
        )
        removed = served.client.delete("/v1/landmarks/1", headers=headers)
        assert {added.status_code, removed.status_code} == {401}
        assert "token" in removed.json()["error"]


def test_others_than_this_machine_need_the_token_to_ask(recognizer: Recognizer) -> None:
    with serving(recognizer, names=("cairn.example",)) as running:
        for path in ("/v1/landmarks", "/v1/photos/thing0-0", "/metrics"):
            assert running.client.get(path).status_code == 401
            assert running.client.get(path, headers=BEARER).status_code == 200
        assert ask(running, jpeg()).status_code == 401
        page = running.client.get("/", headers={"Host": "cairn.example"})
        assert page.status_code == 200
        assert "Thing" not in page.text  # nor what the database holds
        assert TOKEN not in page.text


def test_other_pages_may_ask_where_they_are_named(recognizer: Recognizer) -> None:
    origin = {"Origin": "https://app.example"}
    with serving(recognizer, origins=("https://app.example",)) as running:
        headers = {**origin, "Content-Type": "image/jpeg"}
        answered = running.client.post("/v1/recognize", content=jpeg(), headers=headers)
        assert answered.headers["Access-Control-Allow-Origin"] == "https://app.example"
        wish = {**origin, "Access-Control-Request-Method": "DELETE"}
        asked = running.client.options("/v1/landmarks/1", headers=wish)
        assert "DELETE" in asked.headers["Access-Control-Allow-Methods"]
        other = {**wish, "Origin": "https://evil.example"}
        assert running.client.options("/v1/landmarks/1", headers=other).status_code == 400


def test_every_response_is_closed_to_other_pages(served: Served) -> None:
    for path in ("/", "/static/page.js", "/v1/health", "/nothing", "/v1/landmarks?limit=-1"):
        headers = served.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers


def test_the_static_files_are_these_alone(served: Served) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/"):
        assert served.client.get(path).status_code == 404


def test_a_full_queue_is_told(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    recognize = recognizer.recognize

    def wait(*photos: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return recognize(*photos, **options)

    monkeypatch.setattr(recognizer, "recognize", wait)
    with serving(recognizer, queue=2, time_limit=0.5) as running:
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(_ask_alone(running))) for _ in range(3)
        ]
        threads[0].start()
        assert begun.wait(30)
        for thread in threads[1:]:
            thread.start()
        while "cairn_waiting 2.0" not in running.client.get("/metrics").text:
            time.sleep(0.02)
            if len(codes) == 3:  # a slow machine: the time was over before both waited
                break
        else:
            refused = ask(running, jpeg())
            assert refused.status_code == 429
            assert refused.headers["Retry-After"] == "1"
        for thread in threads:
            thread.join()
        go_on.set()
        assert codes == [503] * 3  # none within the time


def _ask_alone(running: Served) -> int:
    with httpx2.Client(base_url=running.url, timeout=60, trust_env=False) as client:
        headers = {"Content-Type": "image/jpeg"}
        return client.post("/v1/recognize", content=jpeg(), headers=headers).status_code


def test_bodies_that_are_held_are_limited() -> None:
    options = ServeOptions(max_upload=100)

    async def no_app(*_: Any) -> None: ...

    held = guard.Guard(no_app, options, lambda *_: None)
    for _ in range(guard.BODIES):
        held.hold(100)
    with pytest.raises(Refusal) as refused:
        held.hold(1)
    assert refused.value.status_code == 429


def test_a_fault_of_ours_is_told_as_one(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(recognizer, "recognize", fail)
    with serving(recognizer) as running:
        response = ask(running, jpeg())
        assert response.status_code == 500
        assert "fault of Cairn" in response.json()["error"]
        assert "secret" not in response.text
        assert response.headers["Connection"] == "close"
        assert running.client.get("/v1/health").status_code == 200
    assert "a secret" in caplog.text
