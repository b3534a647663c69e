"""How hard the photos are: the knobs of the demo city."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """Chances and spreads of what makes a photo hard."""

    azimuth_spread: float = 10.0  # degrees about a popular viewpoint
    detail_share: float = 0.12  # of the photos show a part of the landmark only
    wide_share: float = 0.12  # show it small
    occluder_share: float = 0.35  # have one big thing in front
    crowd: int = 9  # people at most
    keep_neighbours: float = 0.5  # chance that a house beside a landmark is the usual one
    hard_queries: float = 0.13  # share of queries that are hard in several ways
    blur_share: float = 0.14
    noise: float = 4.0  # largest deviation of sensor noise by day, of 255
    white_balance: float = 0.065  # deviation of the gains of blue and red
    quality: tuple[int, int] = (60, 92)  # JPEG
    supersampling: float = 1.5  # rendered pixels a final pixel, along each axis
    weathers: tuple[tuple[str, float], ...] = (
        ("morning", 1.0),
        ("noon", 1.3),
        ("afternoon", 1.2),
        ("golden", 0.9),
        ("overcast", 1.0),
        ("mist", 0.3),
        ("dusk", 0.6),
        ("night", 0.55),
    )
    hard_weathers: tuple[tuple[str, float], ...] = (
        ("golden", 0.5),
        ("mist", 1.0),
        ("dusk", 1.0),
        ("night", 1.6),
    )
