"""Ask for one image once: every hop checked, every wait and every size limited.

Knows HTTP. Does not know images, retries or files; reads and writes none.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from .addresses import ForbiddenAddressError, check_url, guard_sockets
from .delays import read_retry_after
from .failures import FetchError
from .settings import DownloadSettings

REDIRECTS = {301, 302, 303, 307, 308}
HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, */*;q=0.1",
    "Accept-Encoding": "identity",  # images are packed already
}
DNS_SECONDS = 300
# What the client raises, the more special first, and the reason it stands for.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorError, "unreachable"),
    (aiohttp.ConnectionTimeoutError, "connect_timeout"),
    (aiohttp.ServerTimeoutError, "silence"),
    (aiohttp.ClientConnectionError, "disconnected"),
    (aiohttp.ClientPayloadError, "truncated"),
    (TimeoutError, "too_slow"),
    (aiohttp.InvalidURL, "bad_url"),
    (UnicodeError, "bad_url"),  # a host name that cannot be written in DNS
)
_AFTER_HEADERS = {"silence": "stalled", "disconnected": "truncated"}


def open_session(
    settings: DownloadSettings, is_allowed: Callable[[str], bool]
) -> aiohttp.ClientSession:
    """Return a client that connects to allowed addresses only; close it after use.

    It takes no proxy, password or cookie from anywhere.
    """
    connector = aiohttp.TCPConnector(
        limit=settings.connections,
        limit_per_host=settings.per_host,  # redirects may lead many to one host
        ttl_dns_cache=DNS_SECONDS,
        socket_factory=guard_sockets(is_allowed),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={**HEADERS, "User-Agent": settings.user_agent},
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout, sock_read=settings.silence_timeout
        ),
        middlewares=(_ask_once,),
        trust_env=False,
    )


async def _ask_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the client from asking again by itself, without counting, after a lost connection."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


async def fetch(session: aiohttp.ClientSession, url: str, settings: DownloadSettings) -> bytes:
    """Return what is found at a URL.

    Raises:
        FetchError: for whatever reason it could not be had.
    """
    exchange = _Exchange(session, settings)
    try:
        async with asyncio.timeout(settings.grace) as exchange.deadline:
            return await exchange.follow(check_url(url, settings.allow_private))
    except FetchError:
        raise
    except Exception as error:  # whatever a strange answer makes the client raise
        explained = _explain(error, exchange, settings)
        explained.redirected = exchange.redirects > 0
        raise explained from error


class _Exchange:
    """One try: its redirects, and how far it got."""

    def __init__(self, session: aiohttp.ClientSession, settings: DownloadSettings) -> None:
        self.session, self.settings = session, settings
        self.deadline: asyncio.Timeout
        self.started = asyncio.get_running_loop().time()
        self.redirects = 0
        self.answered = False  # the headers of the last answer are here

    async def follow(self, url: URL) -> bytes:
        """Return the body, after redirects, each checked as the first URL was."""
        seen = [url]
        while True:
            async with self.session.get(url, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    self.answered = True
                    return await self._read(response)
                url = self._next_hop(response)
            self.redirects += 1
            if url in seen:
                raise FetchError("redirect_circle", f"is redirected to {url} a second time")
            if self.redirects > self.settings.max_redirects:
                limit = self.settings.max_redirects
                raise FetchError("too_many_redirects", f"more than {limit} redirects")
            seen.append(url)

    def _next_hop(self, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location", "")
        try:
            url = response.url.join(URL(location))
        except ValueError as error:
            message = f"is redirected to {location!r}, which cannot be read"
            raise FetchError("bad_url", message) from error
        return check_url(url, self.settings.allow_private)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body, counted after unpacking: a small answer can unpack to gigabytes."""
        settings, status = self.settings, response.status
        if status != 200:
            wait = read_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            raise FetchError(f"http_{status}", f"{status} {response.reason}", status, wait)
        if (response.content_length or 0) > settings.max_bytes:
            raise _too_large(settings, f"{response.content_length} bytes are announced")
        parts, received = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            received += len(part)
            if received > settings.max_bytes:
                raise _too_large(settings, "more bytes came")
            # Silence is limited by the client; this ends what drips for ever.
            due = self.started + settings.grace + received / settings.min_rate
            self.deadline.reschedule(due)
        if not received:
            raise FetchError("empty", "0 bytes")
        return b"".join(parts)


def _too_large(settings: DownloadSettings, found: str) -> FetchError:
    return FetchError("too_large", f"{found}, the limit is {settings.max_bytes}")


def _explain(error: Exception, exchange: _Exchange, settings: DownloadSettings) -> FetchError:
    """Turn an error of the client into one of ours."""
    refused = getattr(error, "os_error", None)
    if isinstance(refused, ForbiddenAddressError):
        return FetchError(
            "forbidden_address", f"{refused.address} is not a public address (--allow-private)"
        )
    reasons = (reason for kind, reason in _CAUSES if isinstance(error, kind))
    reason = next(reasons, "bad_response")
    if exchange.answered:
        reason = _AFTER_HEADERS.get(reason, reason)
    if reason == "too_slow":
        limits = f"{settings.grace:g} s and {settings.min_rate} bytes/s"
        return FetchError(reason, f"slower than {limits}")
    return FetchError(reason, f"{type(error).__name__}: {error}")
