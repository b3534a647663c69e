"""Settings that another one switches off are named, by `recipe check` and with --set."""

import logging
from pathlib import Path
from typing import Any, Literal, Union

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from classify_head.policies import POLICIES
from pipelines.commands.recipes import check
from pipelines.commands.start import start_job
from pipelines.runs.recipe import Recipe, make_recipe
from pipelines.runs.setting_names import find_sections
from pipelines.runs.unused_settings import USED_WITH, find_unused
from tests.datasets import make_dataset, make_recipe_file


def annotation_of(key: str) -> Any:
    if key == "decide.rejection":  # no setting: the name of one of the policy's steps
        return str
    if key == "decide.policy":
        return Literal[tuple(POLICIES)]
    if key == "data.changes_nothing":  # no setting: whether any of [data] says something
        return bool
    kind: Any = Recipe
    for part in key.split("."):
        holding = [each for each in find_sections(kind) if part in each.model_fields]
        kind = Union[tuple(each.model_fields[part].annotation for each in holding)]  # noqa: UP007
    return kind


@pytest.mark.parametrize("key", USED_WITH)
def test_both_settings_exist_and_take_the_values(key: str) -> None:
    annotation_of(key)  # raises KeyError
    for other, values in USED_WITH[key].items():
        for value in values:
            TypeAdapter(annotation_of(other)).validate_python(value)


def test_the_defaults_are_never_unused() -> None:
    assert find_unused(Recipe(), USED_WITH) == {}


@pytest.mark.parametrize(
    ("train", "unused"),
    [
        ({"head_scale": 8.0}, set()),
        ({"head_scale": 8.0, "head": {"kind": "linear"}}, {"train.head_scale"}),
        ({"head_loss": "focal", "focal_gamma": 0.5}, set()),
        ({"focal_gamma": 0.5}, {"train.focal_gamma"}),
        ({"miner": "all", "metric_loss": "contrastive"}, {"train.miner"}),
        # What it depends on is itself not used.
        ({"margin": 0.3, "triplet_weight": 0.0}, {"train.margin"}),
        ({"step_epochs": 3, "schedule": "plateau"}, {"train.step_epochs"}),
        # Triplets come in groups, whatever the sampler.
        ({"batch_size": 32, "sampler": "uniform"}, {"train.batch_size"}),
        ({"batch_size": 32, "sampler": "uniform", "triplet_weight": 0.0}, set()),
        ({"learning_rate": 0.1, "momentum": 0.5, "optimizer": "sgd"}, set()),
        # Nothing is trained, and so what depends on training is not used either.
        (
            {"epochs": 0, "learning_rate": 0.1, "momentum": 0.5, "optimizer": "sgd"},
            {"train.learning_rate", "train.optimizer", "train.momentum"},
        ),
        ({"epochs": 0, "augment": {"blur": 0.5}, "dim": 8}, {"train.augment.blur"}),
    ],
)
def test_a_setting_is_unused_where_another_one_says_so(
    train: dict[str, Any], unused: set[str]
) -> None:
    assert set(find_unused(make_recipe({"train": train}, "test"), USED_WITH)) == unused


@pytest.mark.parametrize(
    ("decide", "unused"),
    [
        ({"least_probability": 0.4}, set()),
        ({"least_probability": 0.4, "min_precision": 0.9}, {"decide.least_probability"}),
        ({"least_probability": 0.4, "policy": "head"}, {"decide.least_probability"}),
        ({"reject_share": 0.9}, {"decide.reject_share"}),
        ({"reject_share": 0.9, "policy": "head"}, set()),
        ({"reject_below": 0.2, "policy": "torino"}, {"decide.reject_below"}),
        ({"distractor_share": 0.2, "policy": "head"}, {"decide.distractor_share"}),
    ],
)
def test_a_threshold_is_unused_where_another_one_rejects(
    decide: dict[str, Any], unused: set[str]
) -> None:
    assert set(find_unused(make_recipe({"decide": decide}, "test"), USED_WITH)) == unused


@pytest.mark.parametrize(
    ("rerank", "unused"),
    [
        ({"threshold_px": 4.0, "max_side": 64}, set()),
        ({"threshold_px": 4.0, "method": "none"}, {"rerank.threshold_px"}),
        ({"max_side": 64, "delf": {"dim": 8}}, {"rerank.delf.dim"}),
        ({"max_side": 64, "delf": {"dim": 8}, "method": "delf"}, {"rerank.max_side"}),
        (
            {"max_ratio": 0.9, "of": "predicted-class", "matching": "aggregated"},
            {"rerank.max_ratio"},
        ),
        ({"refine_nearest": 5}, {"rerank.refine_nearest"}),
        ({"refine_beta": 0.5, "refine": 100, "method": "none"}, set()),
        ({"max_ratio": 1.0, "of": "predicted-class", "matching": "aggregated"}, set()),
    ],
)
def test_a_setting_of_other_local_features_is_unused(
    rerank: dict[str, Any], unused: set[str]
) -> None:
    assert set(find_unused(make_recipe({"rerank": rerank}, "test"), USED_WITH)) == unused


def test_no_more_than_the_neighbours_is_looked_at() -> None:
    values = {"search": {"neighbors": 10, "expand_query": 20}, "rerank": {"candidates": 50}}
    assert find_unused(make_recipe(values, "test"), ["rerank.candidates", "search.neighbors"]) == {
        "rerank.candidates": "beyond 10: search.neighbors are no more"
    }


@pytest.mark.parametrize(
    ("embed", "unused"),
    [
        ({}, {"embed.merge_p"}),
        ({"scales": [0.5]}, {"embed.merge_p"}),
        ({"crops": 1}, {"embed.merge_p"}),
        ({"scales": [1.0, 1.4142]}, set()),
        ({"flip": True}, set()),
        ({"crops": 10}, set()),
    ],
)
def test_one_view_needs_no_merging(embed: dict[str, Any], unused: set[str]) -> None:
    recipe = make_recipe({"embed": {"merge_p": 4.0, **embed}}, "test")
    assert set(find_unused(recipe, ["embed.merge_p", "embed.flip"])) == unused


@pytest.mark.parametrize(("grids", "unused"), [([], {"embed.regions.overlap"}), ([2], set())])
def test_without_regions_none_overlap(grids: list[int], unused: set[str]) -> None:
    recipe = make_recipe({"embed": {"regions": {"overlap": 0.2, "grids": grids}}}, "test")
    assert set(find_unused(recipe, ["embed.regions.overlap"])) == unused


def test_steps_that_the_calibrated_policy_passes_over_are_unused() -> None:
    values: dict[str, Any] = {"steps": {"vote": {"most": 3}}}
    said = ["decide.steps.vote.most"]
    assert find_unused(make_recipe({"decide": values}, "test"), said) == {
        "decide.steps.vote.most": "the calibrated policy decides by decide.features"
    }
    values["policy"] = "weighted"
    assert find_unused(make_recipe({"decide": values}, "test"), said) == {}


def test_a_reason_names_no_long_list_of_values() -> None:
    recipe = make_recipe({"decide": {"reject_share": 0.9}}, "test")
    assert find_unused(recipe, USED_WITH) == {
        "decide.reject_share": "decide.policy is 'calibrated'"
    }


def test_what_one_model_of_an_ensemble_uses_is_used() -> None:
    members = {"a": {"train": {"head": {"kind": "linear"}}}, "b": {}}
    values = {"train": {"head_scale": 8.0}, "ensemble": {"members": members}}
    assert find_unused(make_recipe(values, "test"), USED_WITH) == {}
    members["b"] = members["a"]
    assert list(find_unused(make_recipe(values, "test"), USED_WITH)) == ["train.head_scale"]


def test_the_check_names_what_is_unused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nmomentum = 0.5\n")
    check(str(path))
    line = "  train.momentum changes nothing: train.optimizer is 'adamw', not 'sgd'\n"
    assert capsys.readouterr().out.endswith(line)


def test_a_change_that_changes_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[search]\nwhiten_power = 0.25\n")
    data = make_dataset(tmp_path / "data")
    changes = ["search.whiten_dim = 4", "train.seed=3", "train.pretrained=true"]
    weights = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, weights)
    with caplog.at_level(logging.WARNING):
        start_job(data, tmp_path / "run", str(recipe), weights, workers=0, changes=changes)
    assert [record.getMessage() for record in caplog.records] == [
        f"search.whiten_power of {recipe} changes nothing: search.whiten is 'none', not 'pca'",
        "--set search.whiten_dim = 4 changes nothing: search.whiten is 'none', not 'pca'",
        f"--set train.pretrained=true changes nothing: the weights are those of {weights}",
    ]
