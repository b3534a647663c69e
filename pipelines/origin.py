"""Tell who made a dataset folder, so that nothing is written over somebody's own tables.

Reads and writes dataset.json.
"""

import json
from pathlib import Path
from typing import Any

from .artifacts import write_json


def claim(folder: Path, origin: dict[str, Any]) -> None:
    """Mark a folder as made from this origin, or make sure that it is.

    Raises:
        FileExistsError: it holds tables of another origin, or of nobody known.
    """
    marker = folder / "dataset.json"
    found: Any = None
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
    elif not any(folder.glob("*.csv")) and not any(folder.glob("*.parquet")):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(origin, marker)
        return
    if found != origin:
        whose = "your own tables" if found is None else f"a dataset made from {found}"
        raise FileExistsError(f"{folder} holds {whose}; name another folder: --data")
