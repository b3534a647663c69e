"""List what a recipe has otherwise than another, as lines of TOML. Reads and writes no files."""

import json
from collections.abc import Iterator
from typing import Any

from embed.settings import Settings

DESCRIPTIVE = {"description", "report", "preset"}  # keys that no stage reads


def list_differences(before: Any, after: Any, above: str = "") -> Iterator[str]:
    """Yield what a recipe, or a part of one, has otherwise than another: section.key = value."""
    old, new = _list_parts(before), _list_parts(after)
    for key, value in new.items():
        place = f"{above}{key}"
        if isinstance(value, Settings | dict):
            yield from list_differences(old.get(key), value, f"{place}.")
        elif key not in old or old[key] != value:
            yield f"{place} = {_show(value)}"


def _list_parts(settings: Any) -> dict[str, Any]:
    """Return what settings, or a table, hold by name; nothing where there are none."""
    if isinstance(settings, Settings):
        names = (name for name in type(settings).model_fields if name not in DESCRIPTIVE)
        return {name: getattr(settings, name) for name in names}
    return settings or {}


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, Settings):
        return f"{{ {', '.join(list_differences(None, value.model_dump(exclude_none=True)))} }}"
    return json.dumps(value, ensure_ascii=False)
