"""Read what recipe files say, base by base, and lay changes over it. Validates nothing.

Reads pipelines/recipes/*.toml and files it is given. Imports nothing heavy.
"""

import difflib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from embed.errors import InputError, MissingFileError

Values = dict[str, Any]


@dataclass(frozen=True)
class RecipeFile:
    """One file of a chain of bases."""

    name: str  # as it was asked for: a name, or a path
    text: str
    values: Values  # without base
    base: str  # the name of the next; empty for the last of the chain


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("pipelines") / "recipes"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_chain(name: str) -> list[RecipeFile]:
    """Read a recipe by its name, or by its path where the name ends in .toml, and its bases.

    Returns:
        The file asked for, its base, the base of that, and so on.

    Raises:
        MissingFileError: no such recipe.
        InputError: not TOML, or bases in a circle.
    """
    chain = [_read_file(name)]
    while base := chain[-1].base:
        names = [file.name for file in chain]
        if base in names:
            raise InputError(f"recipes name each other as base: {' -> '.join([*names, base])}")
        chain.append(_read_file(base))
    return chain


def _read_file(name: str) -> RecipeFile:
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = Path(str(resources.files("pipelines") / "recipes" / f"{name}.toml"))
    if not name.endswith(".toml") and (Path(name).is_file() or "/" in name):
        raise InputError(f"{name} is no recipe: that is a file whose name ends in .toml")
    if not path.is_file():
        known = list_recipes()
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)};"
        raise MissingFileError(f"no recipe '{name}'; {hint} or name a file: my.toml")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {name} is not TOML: {error}") from error
    base = values.pop("base", None)
    if base is not None and not (isinstance(base, str) and base):
        raise InputError(f"recipe {name}: base = {base!r} is not the name of a recipe")
    return RecipeFile(name, text, values, base or "")


def merge_chain(chain: list[RecipeFile], below: Values) -> Values:
    """Return what a chain of files says together: each file wins over its base, all over below."""
    merged = below
    for file in reversed(chain):
        merged = merge(merged, file.values)
    return merged


def merge(below: Values, above: Values) -> Values:
    """Return below with what above says instead, section by section.

    A table that names a preset, or another kind than the one below, replaces what is below: what it
    does not say is of the preset or kind.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _starts_anew(value, old):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _starts_anew(above: Values, below: Values) -> bool:
    kind = above.get("kind")
    return "preset" in above or below.get("kind", kind) != kind is not None


def flatten(values: Values, above: str = "") -> Values:
    """Return values, and those of the tables in them, by key: section.key.

    >>> flatten({"train": {"epochs": 3, "head": {"kind": "linear"}}})
    {'train.epochs': 3, 'train.head.kind': 'linear'}
    """
    flat: Values = {}
    for key, value in values.items():
        inner = flatten(value, f"{above}{key}.") if isinstance(value, dict) else None
        flat |= inner or {f"{above}{key}": value}
    return flat


def read_keys(name: str, scale: str) -> set[str]:
    """Return the keys that a recipe's own file says at a scale; those of its bases are not its."""
    values = dict(read_chain(name)[0].values)
    small = values.pop("small", {})
    return set(flatten(merge(values, small) if scale == "small" else values))


def parse_change(text: str) -> Values:
    """Read one change as it is written on a command line: section.key=value.

    The value is TOML, or text where it is none.

    Raises:
        InputError: there is no key, or no value, or it is of a file: base, small.

    >>> parse_change("train.epochs=3"), parse_change("train.backbone=resnet18")
    ({'train': {'epochs': 3}}, {'train': {'backbone': 'resnet18'}})
    >>> parse_change("embed.scales=[1.0, 1.4142]")
    {'embed': {'scales': [1.0, 1.4142]}}
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    parts = key.split(".")
    if not equals or not value or not all(parts):
        raise InputError(f"{text!r} is no change of a recipe like train.epochs=3")
    if parts[0] in ("base", "small"):
        raise InputError(
            f"{text!r} changes what only a recipe's file says; choose the scale with --scale small "
            "and change the setting itself: train.epochs=3"
        )
    change: Any = _parse_value(value)
    for part in reversed(parts):
        change = {part: change}
    values: Values = change
    return values


def _parse_value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text
