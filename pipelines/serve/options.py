"""What a server may take and whom it answers. Imports nothing heavy."""

import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address

from embed.errors import InputError

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")  # as a browser of this machine calls it
TOKEN_LENGTH = 16  # characters that a token has at least


@dataclass(frozen=True)
class ServeOptions:
    """Address, token and limits of a server.

    Raises:
        InputError: a value is out of its range.
    """

    host: str = "127.0.0.1"  # address to listen at
    port: int = 8000  # 0: any that is free
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    names: tuple[str, ...] = ()  # further names of the server, such as that of a proxy before it
    origins: tuple[str, ...] = ()  # of other pages that may ask, such as https://example.org
    max_upload: int = 32 << 20  # bytes of the body of a request
    max_pixels: int = 10_000_000_000  # width x height of a photo; the recipe may take fewer
    queue: int = 64  # photos that wait to be answered; further ones are refused
    longest_wait: float = 3.0  # seconds; whoever would wait longer, as others did, is refused
    time_limit: float = 30.0  # seconds a request may wait for its answer
    upload_time: float = 30.0  # seconds in which the body of a request must arrive

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.port <= 65535:
            raise InputError(f"port {self.port} is none from 0 to 65535")
        if len(self.token) < TOKEN_LENGTH or not self.token.isascii() or " " in self.token:
            raise InputError(
                f"the token has fewer than {TOKEN_LENGTH} characters, or others than ASCII; leave "
                "it away, and one is made"
            )
        for value, what in ((self.max_upload, "upload"), (self.max_pixels, "pixels")):
            if value < 1:
                raise InputError(f"the limit of {what} is {value}; it is 1 or more")
        if self.queue < 1 or min(self.longest_wait, self.time_limit, self.upload_time) <= 0:
            raise InputError("the queue takes 1 photo or more, and times are above 0 seconds")
        for origin in self.origins:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or "/" in host:
                raise InputError(f"'{origin}' is no origin; write it like https://example.org")

    @property
    def is_local(self) -> bool:
        """Whether the server listens to this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return False

    @property
    def is_private(self) -> bool:
        """Whether questions need the token, too: others than this machine can ask them."""
        return not self.is_local or bool(self.names)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which requests may call the server; empty: any, as the token decides."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return (*LOCAL_NAMES, own, *self.names) if self.is_local else self.names
