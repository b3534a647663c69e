"""What can go wrong with one image, and whether asking again can help.

Reads and writes nothing. The reasons are what failures.parquet and the summary show:

  refused before asking   no_url, bad_url, no_landmark
  not allowed             forbidden_address: private, or a port that is not of the web
  no answer               dns, unreachable, connect_timeout, tls, disconnected, silence
  an unusable answer      http_<status>, bad_response, redirect_circle, too_many_redirects,
                          stalled, too_slow, truncated, too_large, empty
  no usable image         those of embed.decode: not_an_image, unsupported_format, truncated, ...
  not asked               host_given_up: after many failures in a row; the next run asks again
"""

_HOST_FAILS = {
    *("dns", "unreachable", "connect_timeout", "disconnected", "silence"),
    *("stalled", "too_slow"),
}
_PASSING = {*_HOST_FAILS, "truncated"}
_PASSING_STATUSES = {408, 425, 429}  # Request Timeout, Too Early, Too Many Requests; and all 5xx


class FetchError(Exception):
    """Say why an image could not be fetched or stored."""

    def __init__(
        self, reason: str, message: str, status: int | None = None, wait: float | None = None
    ) -> None:
        """Keep the reason (above), a sentence, the HTTP status, and seconds asked to wait."""
        super().__init__(reason, message, status, wait)
        self.reason, self.message, self.status, self.wait = reason, message, status, wait
        self.redirected = False  # it was another host than that of the URL

    def __str__(self) -> str:
        """Return the sentence and the reason."""
        return f"{self.message} ({self.reason})"

    @property
    def passes(self) -> bool:
        """Whether asking again can help."""
        if self.status is not None:
            return self.status in _PASSING_STATUSES or self.status >= 500
        return self.reason in _PASSING

    @property
    def host_fails(self) -> bool:
        """Whether the host did not answer, answered too slowly, or is broken altogether."""
        return self.reason in _HOST_FAILS or (self.status or 0) >= 500

    @property
    def slows_host(self) -> bool:
        """Whether the host asks for fewer requests, not only for this one to be put off."""
        return self.status == 429 or (self.status == 503 and self.wait is not None)
