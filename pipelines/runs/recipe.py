"""Read recipes: TOML files that say everything a run does besides its data.

A recipe may name another as its `base` and then holds only what differs; `[small]` holds what is
otherwise on a laptop. The files are read by recipe_files. Imports nothing heavy.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import Field, ValidationError, field_validator, model_validator

from classify_head.pair_features import DEFAULT_FEATURES, PAIR_FEATURES
from classify_head.policies import POLICIES
from classify_head.policy import Policy, adjust
from embed.errors import InputError
from embed.settings import (
    MAX_LENGTH,
    MAX_SIDE,
    DecodeSettings,
    EmbedSettings,
    Settings,
    TrainSettings,
    later,
)
from embed.suggest import suggest
from pipelines.artifacts import hash_values
from rerank.delf.settings import DelfSettings

from .recipe_files import Values, merge, merge_chain, parse_change, read_chain
from .recipe_sections import DataSettings, EnsembleSettings, ReportSettings
from .setting_names import suggest_setting

Scale = Literal["full", "small"]
MAX_NEIGHBORS = 100_000  # images of the database that are looked at for one query


class SearchSettings(Settings):
    """How many neighbours a query gets, and what is done to descriptors before the search."""

    neighbors: int = Field(100, ge=1, le=MAX_NEIGHBORS)
    expand_query: int = Field(
        0, ge=0, le=MAX_NEIGHBORS
    )  # neighbours that are added to the query; 0: none
    augment_database: int = Field(
        0, ge=0, le=MAX_NEIGHBORS
    )  # neighbours that are added to database images
    alpha: float = Field(3.0, ge=0, le=1000)  # of query expansion: weight is cosine ** alpha
    # Fit whitening on the database's descriptors, and apply it to all: see embed.whitening.
    whiten: Literal["none", "pca", "within-class"] = "none"
    whiten_dim: int = Field(0, ge=0, le=MAX_LENGTH)  # pca: dimensions that are kept; 0: all
    # pca: 0 rotates alone, 1 makes all variances equal, those of noise too: on photos of cartons
    # 0.5 was better than both.
    whiten_power: float = Field(0.5, ge=0, le=1)


class RerankSettings(Settings):
    """Which local features verify the candidates, and how."""

    method: Literal["sift", "delf", "delf-hub", "none"] = "sift"
    # Which images: the nearest neighbours, or those of the class that the head finds most likely.
    of: Literal["neighbors", "predicted-class"] = later("neighbors")
    candidates: int = Field(100, ge=1, le=MAX_NEIGHBORS)  # that are verified, the nearest first
    # pairs: the query with each image; aggregated: with all of the class at once.
    matching: Literal["pairs", "aggregated"] = later("pairs")
    max_side: int = Field(512, ge=32, le=MAX_SIDE)  # pixels; images are resized to this longer side
    max_features: int = Field(600, ge=1, le=100_000)  # of an image
    ratio: float = Field(0.85, gt=0, le=1)  # of the distances to the nearest and second nearest
    max_distance: float = Field(2.0, gt=0, le=2)  # of matched descriptors of length 1
    nearest: int = later(
        10, ge=1, le=MAX_NEIGHBORS
    )  # aggregated: descriptors of the class looked at for each
    model: Literal["affine", "similarity", "homography"] = "affine"
    threshold: float = Field(8.0, gt=0, le=512)  # pixels of an image whose longer side is 512
    trials: int = later(
        1000, ge=1, le=10_000_000
    )  # samples that the search for a transform draws at most
    hub_model: str = ""  # of delf-hub: a folder with a SavedModel; empty is TF Hub's own
    delf: DelfSettings = DelfSettings()  # of delf: its training and extraction

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.matching == "aggregated" and self.of != "predicted-class":
            raise InputError(
                'matching "aggregated" of neighbors: they show many landmarks, and a descriptor '
                'that all of these have would match them all; set of = "predicted-class"'
            )
        return self


class DecideSettings(Settings):
    """How evidence becomes an answer and a confidence, and what is rejected."""

    policy: str = "calibrated"  # a name of classify_head.policies
    # Other numbers, or whole steps, of the policy.
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    features: tuple[str, ...] = DEFAULT_FEATURES  # calibrated: of classify_head.pair_features
    distractor_share: float = Field(0.5, ge=0, lt=1)  # of the photos that will be asked about
    calibration_queries: int = Field(400, ge=1)  # photos of known landmarks that are asked
    max_overlap: float = Field(0.15, gt=0, le=1)  # inliers to features; more is the same occasion
    min_precision: float | None = Field(None, gt=0, lt=1)  # of the answers; sets the threshold
    least_probability: float = Field(0.5, ge=0, le=1)  # calibrated: the threshold without it
    reject_share: float = Field(0.95, ge=0, le=1)  # other policies: of either distractors' kind
    reject_below: float = Field(0.15, ge=0, le=1)  # other policies: the threshold without any
    rejected: Literal["sink", "empty"] = "sink"  # in submission.csv: keep the guess, or no answer
    # Fit a head that tells landmarks from the non-landmark pool: for the rejection "landmark-head".
    landmark_head: bool = later(False)

    @field_validator("policy")
    @classmethod
    def _know_policy(cls, policy: str) -> str:
        if policy not in POLICIES:
            raise InputError(f"unknown policy; {suggest(policy, POLICIES)}")
        return policy

    @field_validator("features")
    @classmethod
    def _know_features(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in features if name not in PAIR_FEATURES]
        if unknown:
            raise InputError(f"unknown {unknown[0]}; there are {', '.join(PAIR_FEATURES)}")
        return features

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.rejection == "landmark-head" and not self.landmark_head:
            raise InputError(
                'the rejection "landmark-head" asks a head that is not fitted; set '
                "decide.landmark_head = true"
            )
        if self.rejection != "none" and self.min_precision is not None:
            raise InputError(
                f'policy "{self.policy}" has a rejection of its own, "{self.rejection}", and '
                f"min_precision {self.min_precision:g} would change nothing; leave it away, or set "
                'steps.rejection.name = "none"'
            )
        return self

    @property
    def rejection(self) -> str:
        """Name of the policy's own rejection; "none" where the run's threshold rejects."""
        return self.make_policy().rejection.name

    def make_policy(self) -> Policy:
        """Return the policy with its steps changed as the recipe says."""
        return adjust(POLICIES[self.policy], self.steps)


class Recipe(Settings):
    """All settings of a run, a section a stage."""

    description: str = ""
    report: ReportSettings = Field(ReportSettings(), exclude=True)
    data: DataSettings = later(DataSettings())
    decode: DecodeSettings = DecodeSettings()
    train: TrainSettings = TrainSettings()
    ensemble: EnsembleSettings = later(EnsembleSettings())
    embed: EmbedSettings = EmbedSettings()
    search: SearchSettings = SearchSettings()
    rerank: RerankSettings = RerankSettings()
    decide: DecideSettings = DecideSettings()

    @property
    def sha256(self) -> str:
        """Hash of all settings; of those that came later, where they are not the default."""
        return hash_values(self.model_dump())


def load_recipe(name: str, scale: Scale = "full", changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe by its name, or by its path where the name ends in .toml.

    What the file says wins over its base, `[small]` over both, and changes over all.

    Args:
        name: of the recipe, or its path.
        scale: small lays the recipe's own `[small]` over it. That is validated at both scales.
        changes: like train.epochs=3.

    Raises:
        FileNotFoundError: no such recipe.
        InputError: not TOML, an unknown key, a value of the wrong kind, bases in a circle, or a
            scale that the recipe does not have.
    """
    values = merge_chain(read_chain(name))
    small = values.pop("small", {})
    if not isinstance(small, dict):
        raise InputError(f"recipe {name}: small = {small!r} is not a section")
    recipes = {"full": make_recipe(values, name)}
    if small:
        recipes["small"] = make_recipe(merge(values, small), name, above=("small",))
    if scale not in recipes:
        raise InputError(
            f"recipe {name} has no scale '{scale}', only {' and '.join(recipes)}; a section "
            "[small] says what is otherwise at --scale small"
        )
    if not changes:
        return recipes[scale]
    if scale == "small":
        values = merge(values, small)
    return make_recipe(_apply(values, changes), f"{name} with {' '.join(changes)}")


def change_recipe(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Return the recipe with changes like train.epochs=3. Errors are those of load_recipe."""
    values = {**recipe.model_dump(), "report": recipe.report}
    return make_recipe(_apply(values, changes), f"with {' '.join(changes)}")


def make_recipe(values: Values, source: str, *, above: tuple[str, ...] = ()) -> Recipe:
    """Validate values as a recipe, and each member of its ensemble as one of its own.

    Args:
        values: by section.
        source: names them in errors.
        above: the section of the file that all keys in errors are of, where it is not the whole.
    """
    recipe = _validate(values, source, above)
    dim, kept = recipe.train.dim, recipe.search.whiten_dim
    if recipe.search.whiten == "pca" and kept > dim > 0 and not recipe.ensemble.members:
        raise InputError(
            f"recipe {source}: search.whiten_dim = {kept}: descriptors have train.dim = {dim} "
            "values, and no more can be kept; lower it"
        )
    for name in recipe.ensemble.members:
        _validate(_member_values(recipe, name), source, (*above, "ensemble", "members", name))
    return recipe


def member_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe of one model of an ensemble: the whole one with what the member changes.

    It has no ensemble itself.

    Raises:
        InputError: the ensemble has no such member.
    """
    if name not in recipe.ensemble.members:
        known = ", ".join(recipe.ensemble.members) or "none"
        raise InputError(f"the ensemble has no member '{name}'; there are {known}")
    return _validate(_member_values(recipe, name), name, ("ensemble", "members", name))


def _member_values(recipe: Recipe, name: str) -> Values:
    changes = recipe.ensemble.members[name].model_dump()
    return merge(recipe.model_dump(exclude={"ensemble"}), changes)


def _apply(values: Values, changes: Sequence[str]) -> Values:
    for change in changes:
        values = merge(values, parse_change(change))
    return values


def _validate(values: Values, source: str, above: tuple[str, ...]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(_explain(found, above) for found in error.errors())
        raise InputError(f"recipe {source}: {reasons}") from error


def _explain(error: Any, above: tuple[str, ...]) -> str:
    """Put one error of pydantic into words; for an unknown key name the closest one."""
    place = ".".join([*above, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1], above)
        hint = suggest_setting([*map(str, error["loc"])], known, Recipe)
        return f"unknown key '{place}'; {hint}"
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"[{place}]: {error['ctx']['error']}"  # a whole section would say nothing
    if error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{place} = {error['input']!r}: {place} is a section; set one of its keys"
    return f"{place} = {error['input']!r}: {error['msg'].lower()}"


def _known_keys(place: Sequence[str | int], above: tuple[str, ...]) -> list[str]:
    """Return the keys of the section at a place of a recipe, or of a part of one."""
    kind: Any = Recipe
    for part in place:
        if get_origin(kind) in (dict, tuple):  # a table by name, or a list: any part is one more
            kind = next(each for each in get_args(kind) if _find_section(each))
        else:
            kind = _find_section(kind).model_fields[str(part)].annotation
    keys = list(_find_section(kind).model_fields)
    return keys if place or above else [*keys, "base", "small"]


def _find_section(kind: Any) -> Any:
    """Return the class of settings that a type is of, or holds: itself, or one of a union."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        return kind
    return next(filter(None, map(_find_section, get_args(kind))), None)
