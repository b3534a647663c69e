"""Tell who made a dataset folder, so that nothing is written over somebody's own tables.

Reads and writes dataset.json.
"""

import json
import os
from pathlib import Path
from typing import Any

from embed.errors import InputError
from embed.printable import printable
from pipelines.artifacts import write_json

from .naming import is_text
from .renewal import finish_renewal


def claim(folder: Path, origin: dict[str, Any]) -> None:
    """Mark a folder as made from this origin, or make sure that it is.

    Raises:
        InputError: it holds tables of another origin, or of nobody known.
        InputError: its path is no UTF-8: libraries that read tables can open none there.
    """
    if not is_text(str(folder.resolve())):
        raise InputError(
            f"{printable(str(folder.resolve()))} is no UTF-8, which tables and indexes cannot be "
            "written to; name another dataset folder: --data"
        )
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{printable(str(folder))} is no folder; name another dataset folder")
    finish_renewal(folder)
    marker = folder / "dataset.json"
    found: Any = None
    if marker.is_file() and not _is_empty(folder):
        found = _read(marker)
    elif not any(folder.glob("*.csv")) and not any(folder.glob("*.parquet")):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(origin, marker)
        return
    if found != origin:
        whose = "your own tables" if found is None else f"a dataset, or part of one, {_name(found)}"
        raise InputError(f"{folder} holds {whose}; name another folder, or delete what is there")


def _is_empty(folder: Path) -> bool:
    """Tell whether a folder has nothing but the marker: what was begun came to nothing."""
    return all(
        path.name == "dataset.json" or (path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


def _read(marker: Path) -> Any:
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{marker} is damaged ({error}); name another folder") from error


def _name(origin: Any) -> str:
    """Say what a marker says in words; it may hold anything."""
    if not isinstance(origin, dict):
        return f"made from {origin}"
    return "made with " + ", ".join(f"{name}: {value}" for name, value in origin.items())
