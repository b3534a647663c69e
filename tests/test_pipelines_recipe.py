"""Recipes: what ships loads, bases are followed, and settings are recorded and hashed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.runs.recipe import (
    Recipe,
    load_recipe,
    make_recipe,
)
from pipelines.runs.recipe_files import list_recipes
from pipelines.runs.setting_names import list_settings
from tests.datasets import write_recipe


def test_demo_and_photos_ship() -> None:
    assert {"demo", "photos"} <= set(list_recipes())


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_says_what_it_is_for(name: str) -> None:
    assert load_recipe(name).description


def test_the_demo_needs_no_network() -> None:
    assert not load_recipe("demo").train.pretrained


def test_a_base_gives_what_the_recipe_does_not_say(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, "base = 'demo'\n[train.augment]\nblur = 0.5\n")
    recipe, demo = load_recipe(name), load_recipe("demo")
    assert recipe.train.augment.blur == 0.5
    assert recipe.train.augment.rotation == demo.train.augment.rotation
    assert recipe.train.epochs == demo.train.epochs
    assert recipe.search == demo.search


def test_a_base_may_have_a_base(tmp_path: Path) -> None:
    middle = write_recipe(tmp_path, "base = 'demo'\n[train]\nseed = 5\nepochs = 2\n", "middle.toml")
    top = write_recipe(tmp_path, f"base = '{middle}'\n[train]\nepochs = 3\n")
    recipe = load_recipe(top)
    assert (recipe.train.seed, recipe.train.epochs) == (5, 3)
    assert recipe.train.dim == load_recipe("demo").train.dim


@pytest.mark.parametrize("length", [1, 2])
def test_bases_in_a_circle_are_refused(length: int, tmp_path: Path) -> None:
    paths = [tmp_path / f"r{place}.toml" for place in range(length)]
    for path, following in zip(paths, paths[1:] + paths[:1], strict=True):
        path.write_text(f"base = '{following}'\n")
    with pytest.raises(ValueError, match=r"recipes name each other as base: .* -> "):
        load_recipe(str(paths[0]))


@pytest.mark.parametrize("name", ["nowhere/mine.toml", ""])
def test_a_missing_recipe_lists_those_there_are(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="there are balanced-ensemble, demo, "):
        load_recipe(name)


def test_settings_are_frozen() -> None:
    recipe = load_recipe("demo")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.description = ""  # type: ignore[misc]


def test_the_hash_depends_on_values_alone(tmp_path: Path) -> None:
    demo = load_recipe("demo")
    assert demo.sha256 == load_recipe("demo").sha256
    assert demo.sha256 == make_recipe(demo.model_dump(), "run.json").sha256
    assert (
        demo.sha256
        != load_recipe(write_recipe(tmp_path, "base = 'demo'\n[train]\nseed = 1\n")).sha256
    )
    first = load_recipe(write_recipe(tmp_path, "[train]\nseed = 1\ndim = 8\n"))
    second = load_recipe(write_recipe(tmp_path, "[train]\ndim = 8\nseed = 1\n"))
    assert first.sha256 == second.sha256
    assert len(Recipe().sha256) == 64


@pytest.mark.parametrize("kinds", [("none", "gem", "cosine"), ("se", "rmac", "subcenter")])
def test_every_setting_is_recorded(kinds: tuple[str, ...]) -> None:
    sections = ("attention", "pooling", "head")
    train = {name: {"kind": kind} for name, kind in zip(sections, kinds, strict=True)}
    recipe = make_recipe({"train": train}, "test")
    chosen = {
        f"train.{name}.{key}" for name in sections for key in dict(getattr(recipe.train, name))
    }
    expected = {
        key
        for key in list_settings(Recipe)
        if key.partition(".")[0] != "report" and key != "train.augment.preset"
    }
    others = {key for key in expected if key.startswith(tuple(f"train.{s}." for s in sections))}
    assert set(list_keys(recipe.model_dump())) == expected - others | chosen


def list_keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from list_keys(value, f"{above}{key}.")


def test_the_report_is_not_recorded(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, "[report]\ntitle = 'T'\ndiffers = ['Here.']\n"))
    assert recipe.report.differs == ("Here.",)
    assert recipe.sha256 == Recipe().sha256
