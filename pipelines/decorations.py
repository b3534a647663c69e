"""Make what people look at, which never fails a job: its tables are written before.

Knows no picture: each is a function of its user's.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from embed.printable import printable

from .faults import advise

logger = logging.getLogger(__name__)


def draw(path: Path, function: Callable[[], object]) -> list[Path]:
    """Make a picture or page, and return its path in a list; an empty one if there is none.

    A failure is a warning with its cause, and takes away what was there before: it would show
    something else. With CAIRN_DEBUG in the environment it goes through.

    Args:
        path: of the file, or of the folder of files, that the function makes.
        function: makes it, whole or not at all; or nothing, if there is nothing to show.
    """
    try:
        function()
    except Exception as error:  # whatever it is: nobody waits for a picture alone
        if path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
        if os.environ.get("CAIRN_DEBUG"):
            raise
        cause = printable(" ".join(advise(error)) or f"{type(error).__name__}: {error}")
        logger.warning(
            "could not draw %s: %s; everything else is written, and the same command tries again",
            *(printable(path.name), cause),
        )
        return []
    return [path] if _is_there(path) else []


def draw_missing(path: Path, function: Callable[[], object]) -> list[Path]:
    """Make a picture or page that is not there, as `draw` does."""
    return [path] if _is_there(path) else draw(path, function)


def _is_there(path: Path) -> bool:
    """Tell whether there is a file, or a folder of them, and nothing else of that name."""
    return path.is_file() if path.suffix else path.is_dir()
