"""How long a download waits before it asks again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.download.delays import backoff, read_retry_after
from pipelines.sources.download.failures import FetchError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers(0, 1000))
def test_a_delay_lies_between_nothing_and_the_doubled_base(tries: int, seed: int) -> None:
    delay = backoff(tries, 0.5, 60.0, Random(seed))
    assert 0 <= delay <= min(60.0, 0.5 * 2.0 ** min(tries - 1, 100))


def test_delays_use_the_whole_range() -> None:
    rng = Random(0)
    delays = [backoff(3, 1.0, 60.0, rng) for _ in range(2000)]
    assert min(delays) < 0.1
    assert max(delays) > 3.9
    assert abs(sum(delays) / 2000 - 2.0) < 0.1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW.replace(tzinfo=None) + timedelta(seconds=90)), 90.0),  # -0000
        (format_datetime(NOW - timedelta(days=1)), 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_a_server_may_say_when_to_come_back(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("reason", "status", "passes"),
    [
        *[(f"http_{status}", status, True) for status in (408, 425, 429, 500, 502, 503, 504)],
        *[(f"http_{status}", status, False) for status in (204, 301, 400, 401, 403, 404, 410)],
        *[(reason, None, True) for reason in ("dns", "unreachable", "silence", "truncated")],
        *[(reason, None, False) for reason in ("tls", "not_an_image", "too_large", "empty")],
    ],
)
def test_only_what_can_pass_is_asked_for_again(
    reason: str, status: int | None, passes: bool
) -> None:
    assert FetchError(reason, "", status).passes == passes


@pytest.mark.parametrize(
    ("error", "host_fails", "slows_host"),
    [
        (FetchError("silence", ""), True, False),
        (FetchError("too_slow", ""), True, False),
        (FetchError("http_500", "", 500), True, False),
        (FetchError("http_503", "", 503), True, False),
        (FetchError("http_503", "", 503, wait=5.0), True, True),
        (FetchError("http_429", "", 429), False, True),
        (FetchError("http_404", "", 404), False, False),
        (FetchError("truncated", ""), False, False),
    ],
)
def test_some_failures_are_those_of_a_host(
    error: FetchError, host_fails: bool, slows_host: bool
) -> None:
    assert (error.host_fails, error.slows_host) == (host_fails, slows_host)
