"""Which URLs and addresses a table may lead to."""

import ipaddress
import socket

import pytest
from aiohttp import AddrInfoType
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.download.addresses import (
    ForbiddenAddressError,
    check_url,
    guard_sockets,
    is_public,
)
from pipelines.sources.download.failures import FetchError

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
    *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1", "4000::1"),
    *("::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:1::1"),
)
PUBLIC = ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_of_the_public_internet_are_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_are_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_all_its_ipv6_forms(
    ip: ipaddress.IPv4Address,
) -> None:
    number = int(ip)
    forms = ((0xFFFF << 32) + number, (0x2002 << 112) + (number << 80), (0x64FF9B << 96) + number)
    assert {is_public(str(ipaddress.IPv6Address(form))) for form in forms} == {is_public(str(ip))}


def test_a_socket_is_made_for_an_allowed_address_only() -> None:
    make_socket = guard_sockets(lambda address: address == "127.0.0.1")

    def info(address: str) -> AddrInfoType:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))

    make_socket(info("127.0.0.1")).close()
    with pytest.raises(ForbiddenAddressError) as caught:
        make_socket(info("10.0.0.1"))
    assert caught.value.address == "10.0.0.1"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "bad_url"),
        ("ftp://example.com/a.jpg", "bad_url"),
        ("//example.com/a.jpg", "bad_url"),
        ("http:///a.jpg", "bad_url"),
        ("http://[::1/a.jpg", "bad_url"),
        ("http://example.com:99999/a.jpg", "bad_url"),
        ("http://name:word@example.com/a.jpg", "bad_url"),
        ("http://name@example.com/a.jpg", "bad_url"),
        ("http://example.com:22/a.jpg", "forbidden_address"),
        ("http://example.com:0/a.jpg", "forbidden_address"),
    ],
)
def test_a_url_that_is_not_of_the_web_is_refused(url: str, reason: str) -> None:
    with pytest.raises(FetchError) as caught:
        check_url(url, allow_private=False)
    assert caught.value.reason == reason
    assert not caught.value.passes


@pytest.mark.parametrize("url", ["http://a.b/c.jpg", "HTTPS://a.b:8080/c.jpg", "http://bücher.de"])
def test_a_url_of_the_web_passes(url: str) -> None:
    assert check_url(url, allow_private=False).scheme in ("http", "https")


def test_private_servers_may_use_any_port_when_they_are_allowed() -> None:
    assert check_url("http://10.0.0.1:81/a.jpg", allow_private=True).port == 81


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://host/{text}", f"http://host:{text}"):
        try:
            assert check_url(url, allow_private=False).host
        except FetchError as error:
            assert error.reason in ("bad_url", "forbidden_address")
