"""Clients that are gone are not answered: what they asked leaves the queue before it costs time."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.recognizer import Recognizer
from pipelines.serve import server
from tests.conftest import Tiny
from tests.datasets import view
from tests.servers import Served, serving
from tests.test_pipelines_serve_api import encode


class Held:
    """A recogniser whose answers wait to be let go, and which says what it was asked."""

    def __init__(self, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hold the answers of a recogniser."""
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.asked: list[int] = []  # neighbours, by which requests are told apart
        self.compared: list[str] = []
        answer, compare = recognizer.recognize, recognizer.compare

        def hold(photos: Any, *, neighbors: int) -> Any:
            self.asked.append(neighbors)
            self.begun.set()
            assert self.go_on.wait(30)
            return answer(photos, neighbors=neighbors)

        def note(photo: Any, image_id: str) -> Any:
            self.compared.append(image_id)
            return compare(photo, image_id)

        monkeypatch.setattr(recognizer, "recognize", hold)
        monkeypatch.setattr(recognizer, "compare", note)


@pytest.fixture
def held(finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Held, Served]]:
    """Return a server of a queue of two, and what it asks."""
    recognizer = Recognizer.load(finished.run)
    holding = Held(recognizer, monkeypatch)
    with serving(recognizer, queue=2) as running:
        try:
            yield holding, running
        finally:
            holding.go_on.set()


def send(served: Served, path: str) -> Any:
    """Send a photo, and wait for no answer."""
    data = encode(view(1, 0))
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    return served.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)


def wait_for(served: Served, waiting: int) -> None:
    """Wait until so many wait in the queue."""
    for _ in range(1500):
        if f"cairn_waiting {waiting}.0" in served.client.get("/metrics").text:
            return
        time.sleep(0.02)
    raise AssertionError(served.client.get("/metrics").text)


@pytest.mark.parametrize("path", ["/v1/recognize?neighbors=2", "/v1/compare?image_id=thing1-0"])
def test_what_somebody_asked_who_is_gone_leaves_the_queue(
    path: str, held: tuple[Held, Served]
) -> None:
    holding, served = held
    first = send(served, "/v1/recognize?neighbors=1")
    assert holding.begun.wait(30)
    leaving = [send(served, path) for _ in range(2)]
    wait_for(served, 2)
    for connection in leaving:
        connection.close()
    wait_for(served, 0)
    last = [send(served, f"/v1/recognize?neighbors={count}") for count in (3, 4)]  # there is room
    wait_for(served, 2)
    holding.go_on.set()
    for connection in (first, *last):
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        connection.close()
    assert sorted(holding.asked) == [1, 3, 4]
    assert not holding.compared


def test_whoever_leaves_while_it_is_answered_harms_nobody(held: tuple[Held, Served]) -> None:
    holding, served = held
    first = send(served, "/v1/recognize?neighbors=1")
    assert holding.begun.wait(30)
    first.close()
    second = send(served, "/v1/recognize?neighbors=2")
    wait_for(served, 1)
    holding.go_on.set()
    assert second.recv(4096).startswith(b"HTTP/1.1 200 ")
    second.close()
    assert holding.asked == [1, 2]


def test_whoever_takes_no_answer_holds_up_nobody(
    finished: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "WRITE_TIME", 0.3)
    monkeypatch.setattr(server, "STOP_TIME", 10)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket() as deaf:
        with serving(finished.run) as running:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(("127.0.0.1", running.port))
            deaf.sendall(500 * request)
            assert deaf.recv(1, socket.MSG_PEEK)
            assert running.client.get("/v1/health").status_code == 200
    assert not caplog.records  # no traceback, and the server needed not be ended by force
