"""Recipes: what ships loads, what is wrong is named, bases are followed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from embed.errors import InputError
from pipelines.runs.recipe import (
    Recipe,
    Scale,
    change_recipe,
    load_recipe,
    make_recipe,
    member_recipe,
)
from pipelines.runs.recipe_files import list_recipes
from pipelines.runs.setting_names import ALIASES, list_settings


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(ValueError) as caught:
        load_recipe(write(folder, text))
    return str(caught.value)


def test_demo_and_photos_ship() -> None:
    assert {"demo", "photos"} <= set(list_recipes())


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_says_what_it_is_for(name: str) -> None:
    assert load_recipe(name).description


def test_the_demo_needs_no_network() -> None:
    assert not load_recipe("demo").train.pretrained


@pytest.mark.parametrize(
    ("text", "key", "closest"),
    [
        ("[trian]\n", "trian", "train"),
        ("descripton = 'x'\n", "descripton", "description"),
        ("[train]\nepoch = 3\n", "train.epoch", "epochs"),
        ("[train.augment]\nrotate = 3\n", "train.augment.rotate", "rotation"),
        ("[decide]\nreject_shares = 1\n", "decide.reject_shares", "reject_share"),
        ("[data]\nmin_counts = 3\n", "data.min_counts", "min_count"),
        ("[[train.phases]]\nepoch = 3\n", "train.phases.0.epoch", "epochs"),
        (
            "[[train.phases]]\nepochs = 3\nfreeze = { last_convolution = 2 }\n",
            "train.phases.0.freeze.last_convolution",
            "last_convolutions",
        ),
        ("[smal]\n", "smal", "small"),
        ("[small]\ntrian = {}\n", "small.trian", "train"),
        ("[small.train.augment]\nrotate = 3\n", "small.train.augment.rotate", "rotation"),
        ("[ensemble]\nrules = 'mean'\n", "ensemble.rules", "rule"),
        ("[ensemble.members.a]\ntrian = {}\n", "ensemble.members.a.trian", "train"),
        ("[ensemble.members.a.train]\nepoch = 1\n", "ensemble.members.a.train.epoch", "epochs"),
        (
            "[small.ensemble.members.train.embed]\nflips = true\n",
            "small.ensemble.members.train.embed.flips",
            "flip",
        ),
    ],
)
def test_an_unknown_key_names_the_closest(
    text: str, key: str, closest: str, tmp_path: Path
) -> None:
    message = error_of(tmp_path, text)
    assert f"unknown key '{key}'; did you mean '{closest}'?" in message
    assert "mine.toml" in message


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train.lr", "'learning_rate'"),
        ("train.LR", "'learning_rate'"),
        ("lr", "'train.learning_rate'"),
        ("train.bs", "'classes_per_batch' or 'batch_size'"),
        ("train.model", "'backbone'"),
        ("train.arch", "'backbone'"),
        ("search.k", "'neighbors'"),
        ("search.neighbours", "'neighbors'"),
        ("train.loss", "'metric_loss' or 'head_loss'"),
        ("decide.threshold", "'min_precision' or 'least_probability'"),
        ("rerank.threshold", "'threshold_px'"),
        ("rerank.trials", "'max_iterations'"),
        ("rerank.ratio", "'max_ratio'"),
        ("rerank.delf.lr", "'learning_rate'"),
        # The name is right, the section is not.
        ("epochs", "'train.epochs' or 'rerank.delf.epochs'"),
        ("train.neighbors", "'search.neighbors'"),
        ("train.whitten", "'search.whiten'"),
        ("train.min_precision", "'decide.min_precision'"),
        ("train.learning-rate", "'learning_rate'"),
    ],
)
def test_an_unknown_key_is_what_people_call_a_setting(key: str, hint: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_recipe("demo", changes=[f"{key}=1"])
    assert f"unknown key '{key}'; did you mean {hint}?" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("train.pooling.grid=3", "unknown key 'train.pooling.grid'; it is of the kind 'flatten'"),
        (
            "train.head.kind=linear train.head.margin=0.1",
            "'train.head.margin'; it is of the kind 'arcface' or 'cosface' or 'subcenter', this is",
        ),
        ("train.pooling.q=3", "unknown key 'train.pooling.q'; known: kind, p"),
        ("train.pooling.kind=gemm", "train.pooling.kind = 'gemm': input should be 'gem', 'spoc'"),
        ("train.pooling.p=0", "train.pooling.p = 0: input should be greater than"),
        ("train.pooling=3", "train.pooling = 3: train.pooling is a section; set one of its keys"),
    ],
)
def test_a_setting_of_another_kind_is_unknown(changes: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_recipe("demo", changes=changes.split())


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
    base = write(tmp_path, "[train.pooling]\np = 4.0\n", "base.toml")
    changed = load_recipe(base, changes=[f"train.pooling.{line}" for line in lines])
    assert changed.train.pooling.model_dump() == pooling
    sections: dict[Scale, str] = {"full": "train", "small": "small.train"}
    for scale, section in sections.items():
        text = "\n".join([f"base = '{base}'", f"[{section}.pooling]", *lines])
        assert load_recipe(write(tmp_path, text), scale).train == changed.train
    member = f"base = '{base}'\n[ensemble.members.a.train.pooling]\n"
    recipe = load_recipe(write(tmp_path, member + "\n".join(lines)))
    assert member_recipe(recipe, "a").train == changed.train


def test_names_of_elsewhere_are_of_settings_that_there_are() -> None:
    keys = set(list_settings(Recipe))
    assert {key for found in ALIASES.values() for key in found} <= keys
    assert not set(ALIASES) & {key for key in keys if "." not in key}


def test_more_is_not_kept_by_whitening_than_descriptors_have() -> None:
    with pytest.raises(InputError, match=r"search\.whiten_dim = 512: .* train\.dim = 128"):
        load_recipe("demo", changes=["search.whiten=pca", "search.whiten_dim=512"])


def test_an_unknown_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[embed]\nzzz = 3\n")
    assert "unknown key 'embed.zzz'; known: batch_size, shard_size, dtype" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[train]\nepochs = 'many'\n", "train.epochs = 'many'"),
        ("[train]\nepochs = -1\n", "train.epochs = -1"),
        ("[train]\nepochs = 1.5\n", "train.epochs = 1.5"),
        ("[decide]\npolicy = 'loudest'\n", "decide.policy = 'loudest'"),
        ("[train.augment]\nerase = 2.0\n", "train.augment.erase = 2.0"),
        ("train = 3\n", "train = 3"),
        ("small = 3\n", "small = 3"),
        ("[small.train]\nepochs = 'many'\n", "small.train.epochs = 'many'"),
        ("[ensemble]\nrule = 'means'\n", "ensemble.rule = 'means'"),
        ("[ensemble]\nmembers = 3\n", "ensemble.members = 3"),
        ("[ensemble.members]\na = 3\n", "ensemble.members.a = 3"),
        ("[ensemble.members.a.train]\ndim = 'x'\n", "ensemble.members.a.train.dim = 'x'"),
        ("[data]\nsplit = 'half'\n", "data.split = 'half'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    assert place in error_of(tmp_path, text)


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[train]\nepoch = 1\n[embed]\ndtypes = 'x'\n")
    assert "epochs" in message
    assert "dtype" in message


def test_a_base_gives_what_the_recipe_does_not_say(tmp_path: Path) -> None:
    name = write(tmp_path, "base = 'demo'\n[train.augment]\nblur = 0.5\n")
    recipe, demo = load_recipe(name), load_recipe("demo")
    assert recipe.train.augment.blur == 0.5
    assert recipe.train.augment.rotation == demo.train.augment.rotation
    assert recipe.train.epochs == demo.train.epochs
    assert recipe.search == demo.search


def test_a_base_may_have_a_base(tmp_path: Path) -> None:
    middle = write(tmp_path, "base = 'demo'\n[train]\nseed = 5\nepochs = 2\n", "middle.toml")
    top = write(tmp_path, f"base = '{middle}'\n[train]\nepochs = 3\n")
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


@pytest.mark.parametrize("base", ["3", "['demo']", "true", "{}"])
def test_a_base_that_is_no_name_is_refused(base: str, tmp_path: Path) -> None:
    assert "base" in error_of(tmp_path, f"base = {base}\n")


@pytest.mark.parametrize("content", [b"train: {epochs: 3}", b"[train\n", b"\xff\xfe[train]"])
def test_what_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.toml is not TOML"):
        load_recipe(str(path))


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
    assert demo.sha256 != load_recipe(write(tmp_path, "base = 'demo'\n[train]\nseed = 1\n")).sha256
    first = load_recipe(write(tmp_path, "[train]\nseed = 1\ndim = 8\n"))
    second = load_recipe(write(tmp_path, "[train]\ndim = 8\nseed = 1\n"))
    assert first.sha256 == second.sha256
    assert len(Recipe().sha256) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nids = '9:3'\n", r"\[data\]: ids 9:3 holds no landmark"),
        ("[data]\nids = 'all'\n", r"\[data\]: 'all' is no range of landmark ids like 1000:1300"),
        ("[data]\nvalidation = 0.5\n", r"\[data\]: .* no split is named"),
        ("[small.data]\nsizes = '9'\n", r"\[small.data\]: '9' of '9' is no class size"),
        ("[ensemble.members.'a/b']\n", r"\[ensemble\]: member 'a/b' names a folder"),
        ("[ensemble]\nrule = 'corrected'\n[ensemble.members.a]\n", "has 1 members, expected two"),
        ("[ensemble]\nweights = [1.0]\n", "rule mean takes no weights; weighted and agreeing-mean"),
        (
            "[ensemble]\nrule = 'weighted'\n[ensemble.members.a]\n",
            "0 weights for 1 members; give each one",
        ),
    ],
)
def test_what_does_not_fit_together_is_named_with_its_section(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


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
    recipe = load_recipe(write(tmp_path, "[report]\ntitle = 'T'\ndiffers = ['Here.']\n"))
    assert recipe.report.differs == ("Here.",)
    assert recipe.sha256 == Recipe().sha256


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "[data]\ntop = 3\n" + MEMBERS))
    stored = json.loads(json.dumps(recipe.model_dump(mode="json")))
    again = make_recipe(stored, "run.json")
    assert again.sha256 == recipe.sha256
    assert member_recipe(again, "b") == member_recipe(recipe, "b")


SMALL = """
[train]
epochs = 9
dim = 8

[small.train]
epochs = 2
"""


def test_small_is_laid_over_the_recipe(tmp_path: Path) -> None:
    name = write(tmp_path, SMALL)
    full, small = load_recipe(name), load_recipe(name, "small")
    assert (full.train.epochs, small.train.epochs) == (9, 2)
    assert small == full.model_copy(update={"train": full.train.model_copy(update={"epochs": 2})})


def test_small_of_a_base_is_inherited_and_wins_over_the_recipe(tmp_path: Path) -> None:
    base = write(tmp_path, SMALL, "base.toml")
    name = write(tmp_path, f"base = '{base}'\n[train]\nepochs = 5\n[small.train]\ndim = 4\n")
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
    name = write(tmp_path, SMALL)
    found: Any = load_recipe(name, "small", [change])
    for part in change.partition("=")[0].strip().split("."):
        found = getattr(found, part)
    assert found == value


def test_the_last_change_wins_and_the_scale_stays_below(tmp_path: Path) -> None:
    name = write(tmp_path, SMALL)
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


def test_an_unknown_key_of_a_change_names_the_closest() -> None:
    with pytest.raises(ValueError, match=r"'train\.epoch'; did you mean 'epochs'"):
        load_recipe("demo", changes=["train.epoch=3"])
    with pytest.raises(ValueError, match=r"demo with train\.epochs=x: train\.epochs = 'x'"):
        load_recipe("demo", changes=["train.epochs=x"])


def test_a_preset_replaces_what_is_below_it_and_is_changed_by_what_is_above(tmp_path: Path) -> None:
    base = write(tmp_path, "[train.augment]\nmirror = 0.5\nblur = 0.5\n", "base.toml")
    preset = "[train.augment]\npreset = 'torino'\nblur = 0.25\n"
    name = write(tmp_path, f"base = '{base}'\n{preset}")
    augment = load_recipe(name).train.augment
    assert (augment.mirror, augment.blur, augment.rotation) == (0, 0.25, 20)
    augment = load_recipe(name, changes=["train.augment.rotation=5"]).train.augment
    assert (augment.blur, augment.rotation) == (0.25, 5)
    augment = load_recipe(name, changes=["train.augment.preset=default"]).train.augment
    assert augment == Recipe().train.augment


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


def test_a_member_changes_the_recipe_and_is_no_ensemble(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MEMBERS))
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
    name = write(tmp_path, MEMBERS)
    small = load_recipe(name, "small", ["ensemble.members.b.train.dim=4"])
    a, b = (member_recipe(small, name) for name in "ab")
    assert (a.train.epochs, b.train.epochs, a.train.dim, b.train.dim) == (1, 2, 256, 4)


def test_a_member_that_is_not_there_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MEMBERS))
    with pytest.raises(ValueError, match="no member 'c'; there are a, b"):
        member_recipe(recipe, "c")
    with pytest.raises(ValueError, match="no member 'c'; there are none"):
        member_recipe(Recipe(), "c")
