"""Serve a run from a thread of this process, for tests and benchmarks to ask."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from pipelines.artifacts import read_signed, write_signed
from pipelines.recognizer import Recognizer
from pipelines.serve.options import ServeOptions
from pipelines.serve.server import make_server, open_socket

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    url: str
    port: int
    client: httpx2.Client  # without the token

    def send(self, data: bytes) -> socket.socket:
        """Open a connection and send bytes as they are."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection


@contextlib.contextmanager
def serving(run: Path | Recognizer, **options: Any) -> Iterator[Served]:
    """Serve a run until the block ends, with options of ServeOptions."""
    patient = {"port": 0, "token": TOKEN, "longest_wait": 1000.0}  # however busy the machine is
    chosen = ServeOptions(**{**patient, **options})
    recognizer = run if isinstance(run, Recognizer) else Recognizer.load(run)
    with open_socket(chosen) as listening:
        server = make_server(recognizer, chosen)
        arguments = {"sockets": [listening]}
        thread = threading.Thread(target=server.run, kwargs=arguments, name="server")
        thread.start()
        port = listening.getsockname()[1]
        try:
            url = f"http://127.0.0.1:{port}"
            with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
                client.get("/v1/health").raise_for_status()
                yield Served(url, port, client)
        finally:
            server.should_exit = True
            thread.join()


def read_all(connection: socket.socket) -> bytes:
    """Return what a server sends until it closes the connection."""
    with connection:
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


def move_run(run: Path, data: Path) -> None:
    """Let a copy of a run be of a copy of its dataset."""
    recorded = read_signed(run / "run.json")
    write_signed({**recorded, "data": str(data)}, run / "run.json")
