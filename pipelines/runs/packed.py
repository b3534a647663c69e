"""What a run that was packed says of itself: what it came without. Reads pack.json of a run.

pipelines.share writes it: format, the version of runs, what was left out, and all files as packed.
"""

from pathlib import Path
from typing import Any

from embed.errors import InputError
from pipelines.artifacts import read_signed

LISTING = "pack.json"
FORMAT = 1  # of archives and their listing


def read_listing(run: Path) -> dict[str, Any] | None:
    """Return pack.json of a run, or None if it was never packed. Raises InputError if damaged."""
    path = run / LISTING
    if not path.is_file():
        return None
    try:
        return read_signed(path)
    except InputError as error:
        raise InputError(f"{error}; unpack the run again") from error


def list_left_out(run: Path) -> set[str]:
    """Return the artifacts that a run was packed without: paths in its folder; errors likewise."""
    listing = read_listing(run)
    return set() if listing is None else set(listing["left_out"])
