"""Read recipes: TOML files that say everything a run does besides its data.

A recipe may name another as its `base` and then holds only what differs. Reads
pipelines/recipes/*.toml and files it is given. Imports nothing heavy.
"""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from embed.settings import DecodeSettings, EmbedSettings, Settings, TrainSettings

from .artifacts import hash_values


class SearchSettings(Settings):
    """How many neighbours a query gets."""

    neighbors: int = Field(50, ge=1)


class VoteSettings(Settings):
    """How neighbours vote; see classify_head.votes."""

    policy: Literal["top1", "knn-sum", "knn-power"] = "knn-power"
    power: float = Field(8.0, gt=0)  # exponent of the cosine in knn-power


class RerankSettings(Settings):
    """Which local features verify the candidates, and how."""

    method: Literal["sift", "none"] = "sift"
    candidates: int = Field(20, ge=1)  # neighbours that are verified
    max_side: int = Field(512, ge=32)  # pixels; images are resized to this longer side
    max_features: int = Field(600, ge=1)  # of an image
    ratio: float = Field(0.85, gt=0, le=1)  # of the distances to the nearest and second nearest
    model: Literal["affine", "similarity", "homography"] = "affine"
    threshold: float = Field(8.0, gt=0)  # pixels of an image whose longer side is 512
    min_inliers: int = Field(4, ge=0)  # up to so many count as none: they happen by chance


class DecideSettings(Settings):
    """How votes, inliers and the non-landmark pool make one confidence, and what is rejected."""

    inlier_weight: float = Field(0.5, ge=0)  # of the verification, beside 1 for the votes
    inlier_scale: float = Field(20.0, gt=0)  # inliers that bring 63 % of the full gain
    penalty_weight: float = Field(0.2, ge=0)  # of the likeness to images without a landmark
    penalty_neighbors: int = Field(5, ge=1)  # images of the pool that are averaged for it
    reject_share: float = Field(0.95, ge=0, le=1)  # of the pool that the threshold rejects
    reject_below: float = Field(0.15, ge=0, le=1)  # the threshold where there is no pool
    rejected: Literal["sink", "empty"] = "sink"  # in submission.csv: keep the guess, or no answer


class Recipe(Settings):
    """All settings of a run, a section a stage."""

    description: str = ""
    decode: DecodeSettings = DecodeSettings()
    train: TrainSettings = TrainSettings()
    embed: EmbedSettings = EmbedSettings()
    search: SearchSettings = SearchSettings()
    votes: VoteSettings = VoteSettings()
    rerank: RerankSettings = RerankSettings()
    decide: DecideSettings = DecideSettings()

    @property
    def sha256(self) -> str:
        """Hash of all settings."""
        return hash_values(self.model_dump())


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files("pipelines") / "recipes"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or by its path where the name ends in .toml.

    Raises:
        FileNotFoundError: no such recipe.
        ValueError: not TOML, an unknown key, a value of the wrong kind, or bases in a circle.
    """
    return make_recipe(_read_values(name, ()), name)


def make_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Validate values as a recipe; source names them in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"recipe {source}: " + "; ".join(map(_explain, error.errors()))) from error


def _read_values(name: str, above: tuple[str, ...]) -> dict[str, Any]:
    if name in above:
        raise ValueError(f"recipes name each other as base: {' -> '.join([*above, name])}")
    if name.endswith(".toml"):
        path = Path(name)
    else:
        path = Path(str(resources.files("pipelines") / "recipes" / f"{name}.toml"))
    if not path.is_file():
        raise FileNotFoundError(
            f"no recipe '{name}'; there are {', '.join(list_recipes())}, or name a file: my.toml"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {name} is not TOML: {error}") from error
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise ValueError(f"recipe {name}: base = {base!r} is not the name of a recipe")
    return _merge(_read_values(base, (*above, name)), values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return below with what above says instead, section by section."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both and isinstance(old, dict) else value
    return merged


def _explain(error: Any) -> str:
    """Put one error of pydantic into words; for an unknown key name the closest one."""
    place = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(place)} = {error['input']!r}: {error['msg'].lower()}"
    section: type[Settings] = Recipe
    for part in place[:-1]:
        section = section.model_fields[part].annotation  # type: ignore[assignment]
    close = difflib.get_close_matches(place[-1], section.model_fields, n=1, cutoff=0.4)
    known = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(section.model_fields)}"
    return f"unknown key '{'.'.join(place)}'; {known}"
