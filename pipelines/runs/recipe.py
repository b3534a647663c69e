"""Read recipes: TOML files that say everything a run does besides its data.

A recipe may name another as its `base` and then holds only what differs; `[small]` holds what is
otherwise on a laptop. The files are read by recipe_files. Imports nothing heavy.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, ValidationError

from classify_head.settings import DecideSettings, EnsembleSettings
from embed.errors import InputError
from embed.settings import DecodeSettings, EmbedSettings, Settings
from embed.train_settings import TrainSettings
from embed.validation import explain, list_errors
from index.settings import SearchSettings
from pipelines.artifacts import hash_values
from rerank.settings import RerankSettings

from .recipe_files import Values, merge, merge_chain, parse_change, read_chain
from .recipe_sections import DataSettings, ReportSettings
from .setting_names import find_sections, suggest_setting

Scale = Literal["full", "small"]
# Of the sections that are of one of several kinds: where a recipe names none.
KINDS: Values = {
    "train": {
        name: {"kind": getattr(TrainSettings(), name).kind}
        for name in ("attention", "pooling", "head")
    }
}


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
    values = merge_chain(read_chain(name), KINDS)
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
    recipe = _validate(merge(KINDS, values), source, above)
    dim, kept = recipe.train.dim, recipe.search.whiten_dim
    if recipe.search.whiten == "pca" and kept > dim > 0 and not recipe.ensemble.members:
        raise InputError(
            f"recipe {source}: search.whiten_dim = {kept}: descriptors have train.dim = {dim} "
            "values, and no more can be kept; lower it"
        )
    if recipe.decide.most_answers > 1 and not recipe.rerank.verifies_several:
        raise InputError(
            f"recipe {source}: decide.most_answers = {recipe.decide.most_answers}: which part of a "
            "photo shows which landmark is known from local features, compared with images of "
            f'several; rerank.method is "{recipe.rerank.method}", rerank.of "{recipe.rerank.of}"; '
            'set a method, and of = "neighbors", or decide.most_answers = 1'
        )
    _check_regions(recipe, source)
    for name in recipe.ensemble.members:
        place = (*above, "ensemble", "members", name)
        member = _validate(_member_values(recipe, name), source, place)
        if member.embed.regions != recipe.embed.regions:
            raise InputError(
                f"recipe {source}: [{'.'.join(place)}.embed.regions] differs from [embed.regions]: "
                "a region has one descriptor of all members; set it there alone"
            )
    return recipe


def _check_regions(recipe: Recipe, source: str) -> None:
    """Raise InputError for what is not done to the descriptors of regions."""
    if not recipe.embed.regions.grids:
        return
    search, rerank = recipe.search, recipe.rerank
    moving = {
        "search.expand_query": search.expand_query,
        "search.augment_database": search.augment_database,
        "rerank.refine": rerank.refine,
    }
    for name, value in moving.items():
        if value:
            raise InputError(
                f"recipe {source}: {name} = {value} with embed.regions: it moves descriptors of "
                f"whole images alone; set {name} = 0, or embed.regions.grids = []"
            )


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
    # Together first: a kind, which starts a section anew, may be named after its numbers.
    return merge(values, reduce(merge, map(parse_change, changes), {}))


def _validate(values: Values, source: str, above: tuple[str, ...]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(_explain(found, above) for found in list_errors(error))
        raise InputError(f"recipe {source}: {reasons}") from error


def _explain(error: Any, above: tuple[str, ...]) -> str:
    """Put one error of pydantic into words; for an unknown key name the closest one."""
    keys, sections = _follow(error["loc"])
    place = ".".join([*above, *keys])
    if error["type"] == "extra_forbidden":
        return f"unknown key '{place}'; {_hint(keys, error['loc'], sections, bool(above))}"
    if error["type"] == "union_tag_invalid":
        return f"{place}.kind = {error['input']['kind']!r}: {explain(error)}"
    if error["type"] == "missing":
        return f"{place}: {explain(error)}"
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"[{place}]: {explain(error)}"  # a whole section would say nothing
    if error["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{place} = {error['input']!r}: {place} is a section; set one of its keys"
    return f"{place} = {error['input']!r}: {explain(error)}"


def _hint(
    keys: list[str], loc: Sequence[str | int], sections: list[type[Settings]], inside: bool
) -> str:
    """Say what an unknown key may have meant.

    Args:
        keys: its place, itself last.
        loc: the same as pydantic names it.
        sections: that it might be of: more than one where they are of several kinds.
        inside: whether the place is inside a section of the file.
    """
    name = keys[-1]
    if len(sections) > 1:
        kind, holding = str(loc[-2]), [each for each in sections if name in each.model_fields]
        if holding:
            named = " or ".join(repr(each) for section in holding for each in _kinds_of(section))
            return f"it is of the kind {named}, this is '{kind}'"
        sections = [each for each in sections if kind in _kinds_of(each)]
    known = list(sections[0].model_fields)
    known += [] if len(keys) > 1 or inside else ["base", "small"]
    return suggest_setting(keys, known, Recipe)


def _follow(loc: Sequence[str | int]) -> tuple[list[str], list[type[Settings]]]:
    """Return the keys of a place as pydantic names it, and the sections that hold the last one.

    Behind a section that is of one of several kinds pydantic names the kind, which is no key.
    """
    keys: list[str] = []
    kinds: list[type[Settings]] = []
    holding: list[type[Settings]] = []
    annotation: Any = Recipe
    for part in map(str, loc):
        sections = find_sections(annotation)
        if len(sections) > 1:
            kinds, annotation = sections, next(each for each in sections if part in _kinds_of(each))
            continue
        keys.append(part)
        holding, kinds = kinds or sections, []
        if get_origin(annotation) in (dict, tuple):  # a table by name, or a list
            annotation = get_args(annotation)[get_origin(annotation) is dict]
        else:
            fields = sections[0].model_fields if sections else {}
            annotation = fields[part].annotation if part in fields else None
    return keys, holding


def _kinds_of(section: type[Settings]) -> tuple[str, ...]:
    return get_args(section.model_fields["kind"].annotation)
