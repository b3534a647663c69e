"""What is wrong in a recipe is named with its place, and with what was meant."""

import re
from pathlib import Path
from typing import Any

import pytest

from embed.errors import InputError
from pipelines.runs.recipe import (
    Recipe,
    load_recipe,
    make_recipe,
)
from pipelines.runs.setting_names import ALIASES, list_settings
from tests.datasets import write_recipe


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(ValueError) as caught:
        load_recipe(write_recipe(folder, text))
    return str(caught.value)


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
        ("embed.region", "'regions'"),  # nearer than train.pooling.region
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
        (
            "train.pooling.kind=gemm",
            "train.pooling.kind = 'gemm': expected 'gem', 'cls-gem'",
        ),
        ("train.pooling.p=0", "train.pooling.p = 0: expected 1.0 or more"),
        ("train.pooling=3", "train.pooling = 3: train.pooling is a section; set one of its keys"),
    ],
)
def test_a_setting_of_another_kind_is_unknown(changes: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_recipe("demo", changes=changes.split())


def test_names_of_elsewhere_are_of_settings_that_there_are() -> None:
    keys = set(list_settings(Recipe))
    assert {key for found in ALIASES.values() for key in found} <= keys
    assert not set(ALIASES) & {key for key in keys if "." not in key}


def test_more_is_not_kept_by_whitening_than_descriptors_have() -> None:
    with pytest.raises(InputError, match=r"search\.whiten_dim = 512: .* train\.dim = 128"):
        load_recipe("demo", changes=["search.whiten=pca", "search.whiten_dim=512"])


def test_an_unknown_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[embed]\nzzz = 3\n")
    assert "unknown key 'embed.zzz'; known: engine, batch_size, shard_size" in message


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("embed.regions.grids=2", "embed.regions.grids = 2: expected a list: [2]"),
        ("embed.regions.grids=[1]", "embed.regions.grids.0 = 1: expected 2 or more"),
        ("embed.regions.grids=['a']", "embed.regions.grids.0 = 'a': expected a whole number"),
        ("embed.regions.grids=[2,3,4,5]", "[2, 3, 4, 5]: expected 3 of them at most"),
        ("embed.regions.grids=[2,2]", "[2, 2]: a grid named twice describes"),
        ("embed.scales=[]", "embed.scales = []: expected 1 or more of them"),
        ("embed.flip=3", "embed.flip = 3: expected true or false"),
        ("embed.crops=3", "embed.crops = 3: expected 0, 1, 10 or 12"),
        ("train.backbone=3", "train.backbone = 3: expected text in quotes"),
        ("train.learning_rate=nan", "train.learning_rate = nan: expected a finite number"),
        ("train.pooling.kind=3", "train.pooling.kind = 3: expected 'gem', 'cls-gem', "),
        ("train.phases=[{}]", "train.phases.0.epochs: expected a value: there is no default"),
    ],
)
def test_what_is_expected_is_said(change: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_recipe("demo", changes=[change])


def test_one_wrong_value_is_one_error() -> None:
    with pytest.raises(InputError) as caught:
        load_recipe("demo", changes=["train.pooling={kind='dolg',dilations=['a']}"])
    found = str(caught.value).partition(": ")[2]
    assert found == "train.pooling.dilations.0 = 'a': expected a whole number"


@pytest.mark.parametrize("key", [*list_settings(Recipe)])
def test_no_wrong_type_is_worded_as_python_s(key: str) -> None:
    *sections, name = key.split(".")
    wrong: list[Any] = ["zzz", 3.5, -1, True, None, ["zzz"], [[]], {"zzz": 1}]
    for value in wrong:
        values: dict[str, Any] = {name: value}
        for section in reversed(sections):
            values = {section: values}
        try:
            make_recipe(values, "mine")
        except InputError as error:
            assert not re.search(r"\b(tuple|should|valid|unable|instance)\b", str(error))


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[train]\nepoch = 1\n[embed]\ndtypes = 'x'\n")
    assert "epochs" in message
    assert "dtype" in message


@pytest.mark.parametrize("base", ["3", "['demo']", "true", "{}"])
def test_a_base_that_is_no_name_is_refused(base: str, tmp_path: Path) -> None:
    assert "base" in error_of(tmp_path, f"base = {base}\n")


@pytest.mark.parametrize("content", [b"train: {epochs: 3}", b"[train\n", b"\xff\xfe[train]"])
def test_what_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.toml is not TOML"):
        load_recipe(str(path))


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
        (
            "[rerank]\nrefine = 1\n",
            r"\[rerank\]: refine = 1: one neighbour has no order; set refine",
        ),
        (
            "[rerank]\nrefine = 9\n",  # 9 others refine one
            r"\[rerank\]: refine_nearest = 9 of refine = 9: .* set refine_nearest to at most 8, or",
        ),
    ],
)
def test_what_does_not_fit_together_is_named_with_its_section(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe(write_recipe(tmp_path, text))


def test_an_unknown_key_of_a_change_names_the_closest() -> None:
    with pytest.raises(ValueError, match=r"'train\.epoch'; did you mean 'epochs'"):
        load_recipe("demo", changes=["train.epoch=3"])
    with pytest.raises(ValueError, match=r"demo with train\.epochs=x: train\.epochs = 'x'"):
        load_recipe("demo", changes=["train.epochs=x"])
