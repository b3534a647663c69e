"""Say durations and sizes as people do, no more exactly than they are known."""

import math

MINUTE, HOUR, DAY, YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0  # seconds
UNITS = (  # seconds, name, and up to how many seconds it is used
    (1.0, "s", 100.0),
    (MINUTE, "min", 100 * MINUTE),
    (HOUR, "h", 2 * DAY),
    (DAY, "days", YEAR),
    (YEAR, "years", math.inf),
)
PREFIXES = ("kB", "MB", "GB", "TB", "PB")


def format_seconds(seconds: float) -> str:
    """Return a duration to two digits.

    >>> [format_seconds(s) for s in (0.2, 7.4, 99, 125, 840, 12_345, 1e6, 1e8)]
    ['under 1 s', '7.4 s', '99 s', '2.1 min', '14 min', '3.4 h', '12 days', '3.2 years']
    """
    if seconds < 1:
        return "under 1 s"
    unit, name, _ = next(entry for entry in UNITS if seconds < entry[2])
    return f"{round_off(seconds / unit):g} {name}"


def format_bytes(size: float) -> str:
    """Return a size to two digits, in powers of 1000.

    >>> [format_bytes(n) for n in (0, 85, 999, 2_400, 996_000, 45_022_044, 307e9)]
    ['0 B', '85 B', '1 kB', '2.4 kB', '1 MB', '45 MB', '310 GB']
    """
    if round_off(size) < 1000:
        return f"{round_off(size):.0f} B"
    for power, prefix in enumerate(PREFIXES, start=1):
        value = round_off(size / 1000**power)
        if value < 1000 or prefix == PREFIXES[-1]:
            break
    return f"{value:g} {prefix}"


def format_percent(share: float, error: float | None = None) -> str:
    """Return a share in per cent, with its standard error where it was estimated.

    >>> format_percent(0.1234), format_percent(0.0004), format_percent(0.02, 0.003)
    ('12.3 %', '0.04 %', '2.0 % ± 0.3 %')
    """
    digits = 2 if 0 < share < 0.001 else 1
    text = f"{100 * share:.{digits}f} %"
    return text if error is None else f"{text} ± {100 * error:.{digits}f} %"


def round_off(value: float) -> float:
    """Return a number of 0 or more rounded to two digits.

    >>> round_off(1234), round_off(0.0567), round_off(0)
    (1200.0, 0.057, 0.0)
    """
    if not value:
        return 0.0
    return float(round(value, 1 - math.floor(math.log10(value))))
