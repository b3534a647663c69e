"""How long to wait before asking again. Reads and writes nothing."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random


def backoff(tries: int, base: float, longest: float, rng: Random) -> float:
    """Return seconds to wait after so many tries: anything from 0 to base * 2^(tries - 1).

    The full range is random, so that what failed together does not come back together.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter.
    """
    return rng.uniform(0, min(longest, base * 2 ** min(tries - 1, 30)))


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None without a usable one.

    Source: RFC 9110, 10.2.3: seconds, or a date.

    Example:
        >>> read_retry_after("Thu, 01 Jan 2026 00:02:00 GMT", datetime(2026, 1, 1, tzinfo=UTC))
        120.0
    """
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            date = parsedate_to_datetime(value or "")
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
