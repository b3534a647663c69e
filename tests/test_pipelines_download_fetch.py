"""One request and what a server makes of it. The server runs in a process of its own."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from pipelines.sources.download.addresses import is_public
from pipelines.sources.download.failures import FetchError
from pipelines.sources.download.fetch import fetch, open_session
from pipelines.sources.download.settings import DownloadSettings
from tests.image_server import HOST, IMAGES, ImageServer, serve_images
from tests.images import encode, photo

SHAPE = (64, 96)
SETTINGS = DownloadSettings(
    allow_private=True,
    connect_timeout=2.0,
    silence_timeout=0.4,
    grace=1.2,
    min_rate=1000,
    max_bytes=200_000,
    max_redirects=3,
)


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serve_images(shape=SHAPE) as running:
        yield running


def get(
    url: str,
    settings: DownloadSettings = SETTINGS,
    is_allowed: Callable[[str], bool] = lambda address: True,
) -> bytes:
    async def ask() -> bytes:
        async with open_session(settings, is_allowed) as session:
            return await fetch(session, url, settings)

    return asyncio.run(ask())


def image(number: int) -> bytes:
    return encode(photo(*SHAPE, seed=number % IMAGES), "JPEG", quality=90)


@pytest.mark.parametrize("kind", ["ok", "mislabelled", "gzip"])
def test_the_bytes_of_an_image_come_whatever_it_is_labelled(kind: str, server: ImageServer) -> None:
    assert get(server.url(kind, 3)) == image(3)


def test_redirects_are_followed_up_to_the_limit(server: ImageServer) -> None:
    assert get(server.url("chain", 3)) == image(1)
    with pytest.raises(FetchError, match="more than 3 redirects"):
        get(server.url("chain", 4))


@pytest.mark.parametrize(
    ("kind", "reason", "passes"),
    [
        ("missing", "http_404", False),
        ("gone", "http_410", False),
        ("forbidden", "http_403", False),
        ("broken", "http_500", True),
        ("limited", "http_429", True),
        ("empty", "empty", False),
        ("circle", "redirect_circle", False),
        ("to-file", "bad_url", False),
        ("huge", "too_large", False),
        ("endless", "too_large", False),
        ("bomb", "too_large", False),
        ("truncate", "truncated", True),
        ("reset", "disconnected", True),
        ("slow-headers", "silence", True),
        ("stall", "stalled", True),
        ("drip", "too_slow", True),
    ],
)
def test_a_fault_is_named_and_asked_for_once(
    kind: str, reason: str, passes: bool, server: ImageServer
) -> None:
    server.counts(forget=True)
    with pytest.raises(FetchError) as caught:
        get(server.url(kind, 1))
    assert (caught.value.reason, caught.value.passes) == (reason, passes)
    assert server.counts()["requests"][f"/{kind}/1"] == 1


def test_an_announced_size_is_refused_before_it_is_fetched(server: ImageServer) -> None:
    with pytest.raises(FetchError, match="10737418240 bytes are announced") as caught:
        get(server.url("huge"))
    assert (caught.value.reason, caught.value.passes) == ("too_large", False)


def test_the_time_to_wait_is_read(server: ImageServer) -> None:
    with pytest.raises(FetchError) as caught:
        get(server.url("limited"))
    assert (caught.value.wait, caught.value.slows_host) == (1.0, True)


def test_a_private_address_is_refused_unless_it_is_allowed(server: ImageServer) -> None:
    server.counts(forget=True)
    for host in (HOST, "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"):
        with pytest.raises(FetchError) as caught:
            get(server.url("ok").replace(HOST, host), is_allowed=is_public)
        assert caught.value.reason in ("forbidden_address", "bad_url")
        assert not caught.value.passes
    assert server.counts()["requests"] == {}


def test_a_redirect_to_a_refused_address_is_not_followed(server: ImageServer) -> None:
    with pytest.raises(FetchError) as caught:
        get(server.url("to-loopback6"), is_allowed=lambda address: address == HOST)
    assert caught.value.reason == "forbidden_address"
    assert "::1 is not a public address" in caught.value.message


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and nobody listens
        with pytest.raises(FetchError) as caught:
            get(f"http://{HOST}:{taken.getsockname()[1]}/")
    assert (caught.value.reason, caught.value.passes) == ("unreachable", True)


def test_a_host_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(FetchError) as caught:
        get(f"http://{'a' * 70}.invalid/")
    assert caught.value.reason == "bad_url"


def test_no_proxy_of_the_environment_is_used(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(server.url("ok", 2)) == image(2)
