"""Read recipes: TOML files that say everything a run does besides its data.

A recipe may name another as its `base` and then holds only what differs; `[small]` holds what is
otherwise on a laptop. The files are read by recipe_files. Imports nothing heavy.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError

from classify_head.settings import DecideSettings, EnsembleSettings
from embed.errors import InputError
from embed.settings import (
    DecodeSettings,
    EmbedSettings,
    Settings,
    TrainSettings,
)
from index.settings import SearchSettings
from pipelines.artifacts import hash_values
from rerank.settings import RerankSettings

from .recipe_files import Values, merge, merge_chain, parse_change, read_chain
from .recipe_sections import DataSettings, ReportSettings
from .setting_names import suggest_setting

Scale = Literal["full", "small"]


class Recipe(Settings):
    """All settings of a run, a section a stage."""

    description: str = ""
    report: ReportSettings = Field(ReportSettings(), exclude=True)
    data: DataSettings = DataSettings()
    decode: DecodeSettings = DecodeSettings()
    train: TrainSettings = TrainSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    embed: EmbedSettings = EmbedSettings()
    search: SearchSettings = SearchSettings()
    rerank: RerankSettings = RerankSettings()
    decide: DecideSettings = DecideSettings()

    @property
    def sha256(self) -> str:
        """Hash of all settings."""
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
