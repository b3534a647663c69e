"""The command serve: a process that says where it is, and ends well when it is told to."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from embed.errors import install_extra
from tests.conftest import Tiny
from tests.datasets import cairn
from tests.servers import BEARER, TOKEN

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_what_was_accepted_is_answered(
    number: signal.Signals, finished: Tiny
) -> None:
    command = [sys.executable, "-m", "pipelines", "serve", "--run", str(finished.run)]
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "CAIRN_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert TOKEN not in line  # whoever gave it knows it
        port = int(re.search(r":(\d+)/$", line.strip())[1])  # type: ignore[index]
        url = f"http://127.0.0.1:{port}"
        assert httpx2.get(f"{url}/metrics", headers=BEARER, timeout=60).status_code == 200
        data = (finished.data / "images" / "thing1-1.jpg").read_bytes()
        head = (
            f"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
            "Content-Type: image/jpeg\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head.encode() + data[:100])
            assert httpx2.get(f"{url}/v1/health", timeout=60).status_code == 200
            process.send_signal(number)  # while the photo is on its way
            connection.sendall(data[100:])
            answer = b""
            while part := connection.recv(1 << 16):
                answer += part
        assert b" 200 " in answer.splitlines()[0]
        assert b'"label":1' in answer
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_named(finished: Tiny) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        end = cairn("serve", "--run", finished.run, "--port", port)
    assert end.status == 1
    assert f"port {port}" in end.err
    assert "--port" in end.err


def test_without_the_extra_the_remedy_is_named(
    finished: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fastapi" else find_spec(name)
    )
    end = cairn("serve", "--run", finished.run, "--port", "0")
    assert (end.status, end.err) == (1, f"error: serve needs fastapi; {install_extra('serve')}\n")


def test_a_short_token_is_refused(finished: Tiny) -> None:
    end = cairn("serve", "--run", finished.run, "--token", "short")
    assert end.status == 1
    assert "16 characters" in end.err
