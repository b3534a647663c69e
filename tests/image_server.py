"""Serve images over HTTP on 127.0.0.1 with the faults of real servers, for tests and benchmarks.

The first part of a path is the kind of answer, one of KINDS, the rest names the image: the same
path is the same image, always. Run as `python -m tests.image_server` it prints its port, serves
until its standard input ends, and counts the requests for each path. Writes no file.
"""

import argparse
import asyncio
import contextlib
import enum
import gzip
import json
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.images import encode, photo

HOST = "127.0.0.1"
IMAGES = 16  # different ones; the number in a path chooses
BOMB = 64 << 20  # bytes that the gzip bomb unpacks to
FOREVER = 3600.0  # seconds
LIMITED_FOR = 1  # seconds that a 429 asks for


class End(enum.Enum):
    """How a connection ends before its time."""

    CLOSE = enum.auto()
    RESET = enum.auto()


Step = bytes | float | End  # send, wait so many seconds, or end
Answer = Iterator[Step]


@dataclass(frozen=True)
class Request:
    """One request."""

    kind: str
    number: int  # of the image
    tries: int  # requests for this path up to now, this one included
    server: "_Server"

    @property
    def jpeg(self) -> bytes:
        """The intact image."""
        return self.server.jpegs[self.number % IMAGES]


def _head(status: str = "200 OK", length: int | None = None, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return _head(status, len(body), *headers) + body


def _ok(call: Request) -> Answer:
    yield _whole(call.jpeg, "Content-Type: image/jpeg")


def _page(call: Request) -> Answer:
    yield _whole(b"<!DOCTYPE html><title>No</title>", "Content-Type: image/jpeg")


def _status(line: str) -> Callable[[Request], Answer]:
    def answer(call: Request) -> Answer:
        yield _whole(b"no", status=line)

    return answer


def _once(first: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Fail at the first request for a path only."""
    return lambda call: first(call) if call.tries == 1 else _ok(call)


def _limited(call: Request) -> Answer:
    call.server.closed_until = time.monotonic() + LIMITED_FOR
    yield _whole(b"slow down", f"Retry-After: {LIMITED_FOR}", status="429 Too Many Requests")


def _stall(call: Request) -> Answer:
    yield _head(length=len(call.jpeg)) + call.jpeg[: len(call.jpeg) // 2]
    yield FOREVER


def _slow_headers(call: Request) -> Answer:
    yield FOREVER


def _drip(call: Request) -> Answer:
    yield _head(length=len(call.jpeg))
    for byte in call.jpeg:
        yield bytes((byte,))
        yield 0.05


def _truncate(call: Request) -> Answer:
    yield _head(length=len(call.jpeg)) + call.jpeg[: len(call.jpeg) // 2]
    yield End.CLOSE


def _cut(call: Request) -> Answer:
    """Serve a file that was cut before it got here: the length is right, the image is not whole."""
    yield _whole(call.jpeg[: len(call.jpeg) // 2])


def _reset(call: Request) -> Answer:
    yield End.RESET


def _redirect(*targets: str) -> Callable[[Request], Answer]:
    """Lead to the targets in turn; {number} and {port} are filled in."""

    def answer(call: Request) -> Answer:
        target = targets[(call.tries - 1) % len(targets)]
        place = target.format(number=call.number, port=call.server.port)
        yield _whole(b"", f"Location: {place}", status="302 Found")

    return answer


def _chain(call: Request) -> Answer:
    """Lead on so many times as the number says, then to the image."""
    left = call.number
    place = f"/chain/{left - 1}" if left > 1 else f"/ok/{left}"
    yield _whole(b"", f"Location: {place}", status="301 Moved Permanently")


def _huge(call: Request) -> Answer:
    yield _head(length=10 << 30) + bytes(1000)
    yield FOREVER


def _endless(call: Request) -> Answer:
    yield _head("200 OK", None, "Transfer-Encoding: chunked")
    block = b"10000\r\n" + bytes(65536) + b"\r\n"
    for _ in range(4096):
        yield block
        yield 0.0


def _gzip(call: Request) -> Answer:
    yield _whole(gzip.compress(call.jpeg, mtime=0), "Content-Encoding: gzip")


def _bomb(call: Request) -> Answer:
    yield _whole(gzip.compress(bytes(BOMB), 1, mtime=0), "Content-Encoding: gzip")


def _converted(format: str, **options: Any) -> Callable[[Request], Answer]:
    def answer(call: Request) -> Answer:
        pixels = photo(*call.server.shape, seed=call.number % IMAGES)
        yield _whole(encode(Image.fromarray(pixels), format, **options))

    return answer


# What the first part of a path does. The names with -once go well from the second request on.
KINDS: dict[str, Callable[[Request], Answer]] = {
    "ok": _ok,
    "mislabelled": lambda call: iter([_whole(call.jpeg, "Content-Type: text/html")]),
    "png": _converted("PNG"),
    "webp": _converted("WEBP", lossless=True),
    "gif": _converted("GIF"),
    "gzip": _gzip,
    "page": _page,
    "empty": lambda call: iter([_whole(b"")]),
    "missing": _status("404 Not Found"),
    "forbidden": _status("403 Forbidden"),
    "gone": _status("410 Gone"),
    "broken": _status("500 Internal Server Error"),
    "busy-once": _once(_status("503 Service Unavailable")),
    "limited-once": _once(_limited),
    "limited": _limited,
    "stall": _stall,
    "stall-once": _once(_stall),
    "slow-headers": _slow_headers,
    "drip": _drip,
    "truncate": _truncate,
    "truncate-once": _once(_truncate),
    "cut": _cut,
    "cut-once": _once(_cut),
    "reset": _reset,
    "reset-once": _once(_reset),
    "chain": _chain,
    "circle": _redirect("/circle-back/{number}"),
    "circle-back": _redirect("/circle/{number}"),
    "to-file": _redirect("file:///etc/hostname"),
    "to-loopback6": _redirect("http://[::1]:{port}/ok/{number}"),
    "huge": _huge,
    "endless": _endless,
    "bomb": _bomb,
}


class _Server:
    """What all connections share."""

    def __init__(self, latency: float, shape: tuple[int, int]) -> None:
        self.latency, self.shape = latency, shape
        self.jpegs = [
            encode(photo(*shape, seed=seed), "JPEG", quality=90) for seed in range(IMAGES)
        ]
        self.port = 0
        self.now = 0  # requests that are being answered
        self.closed_until = 0.0  # after a 429
        self.forget()

    def forget(self) -> None:
        """Count from nothing again; what fails once fails once more."""
        self.requests: Counter[str] = Counter()
        self.peak, self.early = self.now, 0  # most at a time; requests too early after a 429

    def counts(self) -> bytes:
        """Return what was counted, as JSON."""
        counted = {"requests": self.requests, "peak": self.peak, "early": self.early}
        return json.dumps(counted).encode()


class _Connection(asyncio.Protocol):
    """Reads requests one after the other and plays the answers."""

    def __init__(self, server: _Server) -> None:
        self.server, self.received, self.busy = server, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"\r\n\r\n"):  # nobody here sends a second one before its turn
            path = self.received.split(b" ", 2)[1].decode()
            self.received = b""
            self._begin(path)

    def _begin(self, path: str) -> None:
        server = self.server
        if path in ("/counts", "/forget"):
            self.transport.write(_whole(server.counts()))
            if path == "/forget":
                server.forget()
            return
        self.busy = True
        server.requests[path] += 1
        server.now += 1
        server.peak = max(server.peak, server.now)
        server.early += time.monotonic() < server.closed_until
        kind, _, number = path[1:].partition("/")
        answer = KINDS.get(kind, KINDS["missing"])
        call = Request(kind, int(number or 0), server.requests[path], server)
        asyncio.get_running_loop().call_later(server.latency, self._play, answer(call))

    def _play(self, answer: Answer) -> None:
        """Do the next steps, up to one that waits."""
        while not self.transport.is_closing():
            step = next(answer, None)
            if step is None:
                self._finish()
                return
            if isinstance(step, bytes):
                self.transport.write(step)
            elif isinstance(step, End):
                self._end(step)
            else:
                asyncio.get_running_loop().call_later(step, self._play, answer)
                return

    def _end(self, end: End) -> None:
        if end is End.CLOSE:
            self.transport.close()
            return
        # Without lingering the kernel sends a reset instead of the usual goodbye.
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _finish(self) -> None:
        self.server.now -= self.busy
        self.busy = False


async def _serve(latency: float, shape: tuple[int, int], ports: int) -> None:
    """Serve until standard input ends, on so many ports: each is another host to a client."""
    server, loop = _Server(latency, shape), asyncio.get_running_loop()
    names = []
    for _ in range(ports):
        listening = await loop.create_server(lambda: _Connection(server), HOST, 0, backlog=1024)
        names.append(listening.sockets[0].getsockname()[1])
    server.port = names[0]
    print(json.dumps(names), flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


@dataclass(frozen=True)
class ImageServer:
    """A running server."""

    ports: tuple[int, ...]

    def url(self, kind: str, number: int = 0, port: int = 0) -> str:
        """Return an address; the port is one of so many, in turn."""
        return f"http://{HOST}:{self.ports[port % len(self.ports)]}/{kind}/{number}"

    def counts(self, forget: bool = False) -> dict[str, Any]:
        """Return requests by path, the most at one time, and those that came early after a 429."""
        place = f"http://{HOST}:{self.ports[0]}/{'forget' if forget else 'counts'}"
        with urllib.request.urlopen(place, timeout=10) as answer:
            counted: dict[str, Any] = json.load(answer)
        return counted


@contextlib.contextmanager
def serve_images(
    latency: float = 0.0, shape: tuple[int, int] = (64, 96), ports: int = 1
) -> Iterator[ImageServer]:
    """Run a server in a process of its own.

    Args:
        latency: seconds before each answer.
        shape: (height, width) of its images in pixels.
        ports: on how many it listens; each counts as a host.
    """
    arguments = [str(latency), *map(str, shape), str(ports)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.image_server", *arguments],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    try:
        yield ImageServer(tuple(json.loads(process.stdout.readline())))
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)


def mixed_urls(
    server: ImageServer, count: int, kinds: Sequence[str], share: float
) -> Iterator[str]:
    """Yield addresses, the given share of each kind evenly mixed in, the others intact."""
    every = round(1 / share)
    for number in range(count):
        place = number % every
        yield server.url(kinds[place] if place < len(kinds) else "ok", number, number // every)


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("latency", type=float)
    for name in ("height", "width", "ports"):
        parser.add_argument(name, type=int)
    args = parser.parse_args()
    asyncio.run(_serve(args.latency, (args.height, args.width), args.ports))


if __name__ == "__main__":
    main()
