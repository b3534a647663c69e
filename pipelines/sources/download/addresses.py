"""Decide which addresses a table of URLs may make this machine connect to.

Somebody else wrote the table, and each host in it may redirect anywhere. So the URL of every hop
is checked here, and the address of every connection right when its socket is made: what a name
was resolved to before, or a redirect, or a number instead of a name cannot get past that.
"""

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp import AddrInfoType
from yarl import URL

from .failures import FetchError

WEB_PORTS = {80, 443}  # below 1024 the others belong to other services: mail, remote login
_UNICAST = IPv6Network("2000::/3")  # all the rest of IPv6 is local, multicast or unassigned
_NAT64 = IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """Refuse to connect; to the HTTP client it is one more connection that failed."""

    def __init__(self, address: str) -> None:
        """Keep the address beside a message that is the same for all addresses of a host."""
        super().__init__(errno.EACCES, "not a public address")
        self.address = address


def is_public(address: str) -> bool:
    """Tell whether an IP address, as text, is one of the public internet.

    Example:
        >>> is_public("1.1.1.1"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    ip = ip_address(address.partition("%")[0])  # fe80::1%eth0
    return _is_public_v4(ip) if isinstance(ip, IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _is_public_v6(ip: IPv6Address) -> bool:
    """Judge IPv6 addresses that stand for an IPv4 address by that one."""
    if ip in _NAT64:
        return _is_public_v4(IPv4Address(ip.packed[-4:]))
    inner = ip.ipv4_mapped or ip.sixtofour
    if inner is not None:
        return _is_public_v4(inner)
    return ip in _UNICAST and ip.is_global  # Teredo, 2001::/32, is not global


def guard_sockets(is_allowed: Callable[[str], bool]) -> Callable[[AddrInfoType], socket.socket]:
    """Return a function that makes the socket for an address, if that is allowed."""

    def make_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        if not is_allowed(str(place[0])):
            raise ForbiddenAddressError(str(place[0]))
        return socket.socket(family, kind, protocol)

    return make_socket


def check_url(text: str | URL, allow_private: bool) -> URL:
    """Return the URL of an image, parsed.

    Raises:
        FetchError: it cannot be read, is not of the web, names a user, or a port of something
            else.
    """
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise FetchError("bad_url", f"{text!r} cannot be read as a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise FetchError("bad_url", f"'{url}' is no http:// or https:// URL with a host")
    if url.user is not None or url.password is not None:
        raise FetchError("bad_url", f"the URL for {url.host} holds a name or password")
    if port is None or port == 0 or (port < 1024 and port not in WEB_PORTS and not allow_private):
        raise FetchError("forbidden_address", f"port {port} of {url.host} is not of the web")
    return url.with_fragment(None)
