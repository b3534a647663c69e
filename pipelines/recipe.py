"""Read recipes: TOML files that say everything a run does besides its data.

A recipe may name another as its `base` and then holds only what differs. Reads
pipelines/recipes/*.toml and files it is given. Imports nothing heavy.
"""

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from classify_head.pair_features import DEFAULT_FEATURES, PAIR_FEATURES
from classify_head.policies import POLICIES
from classify_head.policy import Policy, adjust
from embed.settings import DecodeSettings, EmbedSettings, Settings, TrainSettings
from rerank.delf.settings import DelfSettings

from .artifacts import hash_values


class SearchSettings(Settings):
    """How many neighbours a query gets, and what is done to descriptors before the search."""

    neighbors: int = Field(100, ge=1)
    expand_query: int = Field(0, ge=0)  # neighbours that are added to the query; 0: none
    augment_database: int = Field(0, ge=0)  # neighbours that are added to database images
    alpha: float = Field(3.0, ge=0)  # of query expansion: weight is cosine ** alpha
    whiten: bool = False  # fit PCA whitening on the database's descriptors, apply it to all
    whiten_dim: int = Field(0, ge=0)  # dimensions that are kept; 0: all
    # 0 rotates alone, 1 makes all variances equal, those of noise too: on photos of cartons 0.5 was
    # better than both.
    whiten_power: float = Field(0.5, ge=0, le=1)


class RerankSettings(Settings):
    """Which local features verify the candidates, and how."""

    method: Literal["sift", "delf", "delf-hub", "none"] = "sift"
    candidates: int = Field(100, ge=1)  # neighbours that are verified
    max_side: int = Field(512, ge=32)  # pixels; images are resized to this longer side
    max_features: int = Field(600, ge=1)  # of an image
    ratio: float = Field(0.85, gt=0, le=1)  # of the distances to the nearest and second nearest
    max_distance: float = Field(2.0, gt=0, le=2)  # of matched descriptors of length 1
    model: Literal["affine", "similarity", "homography"] = "affine"
    threshold: float = Field(8.0, gt=0)  # pixels of an image whose longer side is 512
    hub_model: str = ""  # of delf-hub: a folder with a SavedModel; empty is TF Hub's own
    delf: DelfSettings = DelfSettings()  # of delf: its training and extraction


class DecideSettings(Settings):
    """How evidence becomes an answer and a confidence, and what is rejected."""

    policy: str = "calibrated"  # a name of classify_head.policies
    # Other numbers, or whole steps, of the policy.
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    features: tuple[str, ...] = DEFAULT_FEATURES  # calibrated: of classify_head.pair_features
    distractor_share: float = Field(0.5, ge=0, lt=1)  # of the photos that will be asked about
    calibration_queries: int = Field(400, ge=1)  # photos with a known landmark that are asked
    max_overlap: float = Field(0.15, gt=0, le=1)  # inliers to features; more is the same occasion
    min_precision: float | None = Field(None, gt=0, lt=1)  # of the answers; sets the threshold
    least_probability: float = Field(0.5, ge=0, le=1)  # calibrated: the threshold without it
    reject_share: float = Field(0.95, ge=0, le=1)  # other policies: of the pool that is rejected
    reject_below: float = Field(0.15, ge=0, le=1)  # other policies: the threshold without a pool
    rejected: Literal["sink", "empty"] = "sink"  # in submission.csv: keep the guess, or no answer

    @field_validator("policy")
    @classmethod
    def _know_policy(cls, policy: str) -> str:
        if policy not in POLICIES:
            close = difflib.get_close_matches(policy, POLICIES, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(POLICIES)}"
            raise ValueError(f"unknown policy; {hint}")
        return policy

    @field_validator("features")
    @classmethod
    def _know_features(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in features if name not in PAIR_FEATURES]
        if unknown:
            raise ValueError(f"unknown {unknown[0]}; there are {', '.join(PAIR_FEATURES)}")
        return features

    @model_validator(mode="after")
    def _know_steps(self) -> Self:
        self.make_policy()
        return self

    def make_policy(self) -> Policy:
        """Return the policy with its steps changed as the recipe says."""
        return adjust(POLICIES[self.policy], self.steps)


class Recipe(Settings):
    """All settings of a run, a section a stage."""

    description: str = ""
    decode: DecodeSettings = DecodeSettings()
    train: TrainSettings = TrainSettings()
    embed: EmbedSettings = EmbedSettings()
    search: SearchSettings = SearchSettings()
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
