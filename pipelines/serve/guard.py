"""What every request passes before it is looked at, and every response on its way out.

Refuses what another page makes a browser ask (by the names in Host and Origin), bodies that are too
large or too slow, and more bodies at a time than fit into memory.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .options import ServeOptions
from .refusal import Refusal, busy

SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
BODIES = 8  # of the largest size that are in memory at a time
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}


class Guard:
    """The outermost part of the application."""

    def __init__(
        self, app: ASGIApp, options: ServeOptions, observe: Callable[[Scope, int, float], None]
    ) -> None:
        """Guard an application.

        Args:
            app: to guard.
            options: limits, and who may ask.
            observe: called with each request, the status of its response, and how many seconds
                it took.
        """
        self._app, self._options, self._observe = app, options, observe
        self._held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, body = time.perf_counter(), 0, _Body(self, receive, Headers(scope=scope))

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _secure(message)
            await send(message)

        try:
            check_origin(scope, self._options)
            body.check_length()
            await self._app(scope, body.receive, send_on)
        except Refusal as refusal:
            response = JSONResponse(
                {"error": refusal.detail}, refusal.status_code, dict(refusal.headers or {})
            )
            await response(scope, receive, send_on)
        finally:
            self._held -= body.size
            self._observe(scope, status or 500, time.perf_counter() - started)

    @property
    def max_upload(self) -> int:
        """Bytes that a body may have."""
        return self._options.max_upload

    @property
    def upload_time(self) -> float:
        """Seconds in which a body must arrive."""
        return self._options.upload_time

    def hold(self, size: int) -> None:
        """Make room for so many bytes more. Raises Refusal where there is none."""
        if self._held + size > BODIES * self.max_upload:
            raise busy("too many photos are being sent at a time")
        self._held += size


class _Body:
    """The body of a request, as it comes in."""

    def __init__(self, guard: Guard, receive: Receive, headers: Headers) -> None:
        self._guard, self._receive, self._headers = guard, receive, headers
        self._ends = asyncio.get_running_loop().time() + guard.upload_time
        self._whole = False
        self.size = 0  # bytes so far

    def check_length(self) -> None:
        """Raise Refusal if it says that it is too large."""
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._guard.max_upload:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message. Raises Refusal when it is too large, too late or too much."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError as error:
            limit = self._guard.upload_time
            raise Refusal(408, f"the request took over {limit:g} s to arrive; send it again") from (
                error
            )
        part = len(message.get("body", b""))
        if self.size + part > self._guard.max_upload:
            raise self._too_large()
        self._guard.hold(part)
        self.size += part
        self._whole = not message.get("more_body", False)
        return message

    def _too_large(self) -> Refusal:
        limit = self._guard.max_upload / (1 << 20)
        return Refusal(413, f"the request has over {limit:g} MiB; send a smaller photo, or fewer")


def check_origin(scope: Scope, options: ServeOptions) -> None:
    """Refuse what a page of another origin makes a browser ask.

    A name that an attacker lets point to this machine stands in Host; a form or script of another
    page, in Origin.

    Raises:
        Refusal: the server is not called so, or a page of another origin asks for a change.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if options.hosts and _split_port(host) not in options.hosts:
        raise Refusal(
            421,
            "this server is not called so; ask it at the address that it printed, or let whoever "
            "runs it allow this name",
        )
    origin = headers.get("origin")
    if scope["method"] in SAFE or origin is None or origin in options.origins:
        return
    try:
        asking = urlsplit(origin).netloc
    except ValueError:  # [ without ]
        asking = ""
    if not asking or asking != host:
        raise Refusal(
            403,
            "a page of another origin may not ask; ask from the page of this server or from no "
            "page, or let whoever runs it allow this origin",
        )


def _split_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def is_token(given: str, token: str) -> bool:
    """Compare a token that was given, in a time that does not say how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _secure(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in SECURITY.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
