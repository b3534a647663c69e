"""Run the application with uvicorn: slow clients are cut off, a signal ends it gracefully."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from embed.errors import InputError
from pipelines.recognizer import Recognizer

from .app import make_app
from .options import ServeOptions
from .service import Service

logger = logging.getLogger(__name__)

HEAD_TIME = 10.0  # seconds in which the head of a request must arrive
HEAD_SIZE = 16 << 10  # bytes
CONNECTIONS = 512  # at a time; further requests are answered by 503
KEEP_ALIVE = 5  # seconds that a connection waits for its next request
WRITE_TIME = 30.0  # seconds in which a client takes a further part of what waits for it
STOP_TIME = 35  # seconds for what was accepted, when the server is told to stop
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that does not wait for ever: for a request sent byte by byte, or for a reader."""

    _taking: asyncio.TimerHandle | None = None  # of a client that has something to take

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # to be told of all that is not taken at once
        self._limit_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for the client no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was written, also when it is the last."""
        super().pause_writing()
        self._limit_taking(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Write on: the client took all."""
        self._stop_waiting()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Begin to wait for the next."""
        super().on_response_complete()
        self._limit_wait()

    def _limit_wait(self) -> None:
        self.loop.call_later(HEAD_TIME, self._close_if_waiting, self.cycle)

    def _limit_taking(self, left: int) -> None:
        self._taking = self.loop.call_later(WRITE_TIME, self._abort_if_stuck, left)

    def _abort_if_stuck(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._limit_taking(left)
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._taking is not None:
            self._taking.cancel()

    def _close_if_waiting(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last and (last is None or last.response_complete):
            self.transport.close()


class StoppingServer(uvicorn.Server):
    """Ends well after a signal, where uvicorn would raise it again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let the first signal end the server when all that was accepted is answered."""
        if threading.current_thread() is not threading.main_thread():  # no signal comes here
            yield
            return
        signal.set_wakeup_fd(-1)  # what ends other commands at once
        before = {each: signal.signal(each, self.handle_exit) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def open_socket(options: ServeOptions) -> socket.socket:
    """Return a socket that listens. Raises InputError where the address is taken or not ours."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except OSError as error:
        raise InputError(
            f"cannot listen at {options.host}, port {options.port}: {error.strerror or error}; "
            "choose another --host or --port"
        ) from error


def make_server(recognizer: Recognizer, options: ServeOptions) -> uvicorn.Server:
    """Return a server, which is to be run with a socket."""
    settings: dict[str, Any] = {
        "http": PatientProtocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "limit_concurrency": CONNECTIONS,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": STOP_TIME,
        "h11_max_incomplete_event_size": HEAD_SIZE,
    }
    return StoppingServer(uvicorn.Config(make_app(Service(recognizer, options)), **settings))
