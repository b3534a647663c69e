"""What lies over a recipe: its small scale, kinds, changes, presets and members."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs.recipe import (
    Recipe,
    Scale,
    change_recipe,
    load_recipe,
    make_recipe,
    member_recipe,
)
from tests.datasets import write_recipe

SMALL = """
[train]
epochs = 9
dim = 8

[small.train]
epochs = 2
"""
MEMBERS = """
[train]
epochs = 9
balance = { cap = 5 }
augment = { preset = "none", mirror = 0.5 }

[ensemble]
rule = "majority"

[ensemble.members.a.train]
backbone = "resnet18"

[ensemble.members.b]
train = { balance = { set_number = 1 }, augment = { preset = "torino" } }
embed = { flip = true }

[small.train]
epochs = 2

[small.ensemble.members.a.train]
epochs = 1
"""


@pytest.mark.parametrize(
    ("lines", "pooling"),
    [
        (["kind = 'gem'"], {"kind": "gem", "p": 4.0}),
        (["kind = 'spoc'"], {"kind": "spoc"}),
        (["kind = 'rmac'", "levels = 2"], {"kind": "rmac", "levels": 2}),
        (["levels = 2", "kind = 'rmac'"], {"kind": "rmac", "levels": 2}),
    ],
)
def test_another_kind_replaces_the_numbers_of_the_one_below(
    lines: list[str], pooling: dict[str, Any], tmp_path: Path
) -> None:
    base = write_recipe(tmp_path, "[train.pooling]\np = 4.0\n", "base.toml")
    changed = load_recipe(base, changes=[f"train.pooling.{line}" for line in lines])
    assert changed.train.pooling.model_dump() == pooling
    sections: dict[Scale, str] = {"full": "train", "small": "small.train"}
    for scale, section in sections.items():
        text = "\n".join([f"base = '{base}'", f"[{section}.pooling]", *lines])
        assert load_recipe(write_recipe(tmp_path, text), scale).train == changed.train
    member = f"base = '{base}'\n[ensemble.members.a.train.pooling]\n"
    recipe = load_recipe(write_recipe(tmp_path, member + "\n".join(lines)))
    assert member_recipe(recipe, "a").train == changed.train


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, "[data]\ntop = 3\n" + MEMBERS))
    stored = json.loads(json.dumps(recipe.model_dump(mode="json")))
    again = make_recipe(stored, "run.json")
    assert again.sha256 == recipe.sha256
    assert member_recipe(again, "b") == member_recipe(recipe, "b")


def test_small_is_laid_over_the_recipe(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, SMALL)
    full, small = load_recipe(name), load_recipe(name, "small")
    assert (full.train.epochs, small.train.epochs) == (9, 2)
    assert small == full.model_copy(update={"train": full.train.model_copy(update={"epochs": 2})})


def test_small_of_a_base_is_inherited_and_wins_over_the_recipe(tmp_path: Path) -> None:
    base = write_recipe(tmp_path, SMALL, "base.toml")
    name = write_recipe(tmp_path, f"base = '{base}'\n[train]\nepochs = 5\n[small.train]\ndim = 4\n")
    small = load_recipe(name, "small")
    assert (load_recipe(name).train.epochs, small.train.epochs, small.train.dim) == (5, 2, 4)


def test_a_scale_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="demo has no scale 'small', only full"):
        load_recipe("demo", "small")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("train.epochs=3", 3),
        ("train.epochs = 3", 3),
        ("train.learning_rate=1e-3", 1e-3),
        ("train.backbone=resnet18", "resnet18"),
        ("train.backbone='resnet18'", "resnet18"),
        ("train.pretrained=false", False),
        ("embed.scales=[1.0, 2.0]", (1.0, 2.0)),
        ("data.ids=1000:1300", "1000:1300"),
        ("decide.min_precision=0.9", 0.9),
        ("train.augment.mirror=0.5", 0.5),
    ],
)
def test_a_change_wins_over_all_and_its_value_is_toml_or_text(
    change: str, value: Any, tmp_path: Path
) -> None:
    name = write_recipe(tmp_path, SMALL)
    found: Any = load_recipe(name, "small", [change])
    for part in change.partition("=")[0].strip().split("."):
        found = getattr(found, part)
    assert found == value


def test_the_last_change_wins_and_the_scale_stays_below(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, SMALL)
    changed = load_recipe(name, "small", ["train.epochs=3", "train.epochs=4"])
    assert (changed.train.epochs, changed.train.dim) == (4, 8)
    assert change_recipe(load_recipe(name, "small"), ["train.epochs=4"]) == changed


@pytest.mark.parametrize("change", ["train.epochs", "=3", "train..epochs=3", "train.epochs=", ""])
def test_a_change_without_key_or_value_is_refused(change: str) -> None:
    with pytest.raises(ValueError, match=r"is no change of a recipe like train\.epochs=3"):
        load_recipe("demo", changes=[change])


@pytest.mark.parametrize("change", ["small.train.epochs=3", "base=demo"])
def test_a_change_is_of_settings_not_of_what_a_file_says(change: str) -> None:
    with pytest.raises(ValueError, match="choose the scale with --scale small and change"):
        load_recipe("torino", changes=[change])


def test_a_preset_replaces_what_is_below_it_and_is_changed_by_what_is_above(tmp_path: Path) -> None:
    base = write_recipe(tmp_path, "[train.augment]\nmirror = 0.5\nblur = 0.5\n", "base.toml")
    preset = "[train.augment]\npreset = 'torino'\nblur = 0.25\n"
    name = write_recipe(tmp_path, f"base = '{base}'\n{preset}")
    augment = load_recipe(name).train.augment
    assert (augment.mirror, augment.blur, augment.rotation) == (0, 0.25, 20)
    augment = load_recipe(name, changes=["train.augment.rotation=5"]).train.augment
    assert (augment.blur, augment.rotation) == (0.25, 5)
    augment = load_recipe(name, changes=["train.augment.preset=default"]).train.augment
    assert augment == Recipe().train.augment


def test_a_member_changes_the_recipe_and_is_no_ensemble(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, MEMBERS))
    a, b = (member_recipe(recipe, name) for name in recipe.ensemble.members)
    assert (a.train.backbone, b.train.backbone) == ("resnet18", recipe.train.backbone)
    assert (a.train.balance.set_number, b.train.balance.set_number) == (0, 1)
    assert (a.train.balance.cap, b.train.balance.cap) == (5, 5)
    assert (a.train.augment.mirror, b.train.augment.mirror, b.train.augment.rotation) == (
        0.5,
        0,
        20,
    )
    assert (a.embed.flip, b.embed.flip) == (False, True)
    assert not a.ensemble.members and a.search == recipe.search


def test_members_have_a_small_scale_and_can_be_changed(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, MEMBERS)
    small = load_recipe(name, "small", ["ensemble.members.b.train.dim=4"])
    a, b = (member_recipe(small, name) for name in "ab")
    assert (a.train.epochs, b.train.epochs, a.train.dim, b.train.dim) == (1, 2, 256, 4)


def test_a_member_that_is_not_there_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, MEMBERS))
    with pytest.raises(ValueError, match="no member 'c'; there are a, b"):
        member_recipe(recipe, "c")
    with pytest.raises(ValueError, match="no member 'c'; there are none"):
        member_recipe(Recipe(), "c")
