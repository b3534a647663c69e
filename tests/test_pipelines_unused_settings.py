"""Settings that another one switches off are named, by `recipe check` and with --set."""

import logging
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter

from classify_head.policies import POLICIES
from pipelines.commands.recipes import check
from pipelines.commands.start import start_job
from pipelines.recipe import Recipe, make_recipe
from pipelines.unused_settings import USED_WITH, find_unused
from tests.datasets import make_dataset, make_recipe_file


def annotation_of(key: str) -> Any:
    if key == "decide.rejection":  # no setting: the name of one of the policy's steps
        return str
    if key == "decide.policy":
        return Literal[tuple(POLICIES)]
    kind: Any = Recipe
    for part in key.split("."):
        kind = kind.model_fields[part].annotation
    return kind


@pytest.mark.parametrize("key", USED_WITH)
def test_both_settings_exist_and_take_the_values(key: str) -> None:
    annotation_of(key)  # raises KeyError
    for other, values in USED_WITH[key].items():
        for value in values:
            TypeAdapter(annotation_of(other)).validate_python(value)


def test_the_defaults_are_never_unused() -> None:
    assert find_unused(Recipe()) == {}


@pytest.mark.parametrize(
    ("train", "unused"),
    [
        ({"head": {"dropout": 0.5}}, {"train.head.dropout"}),
        ({"head": {"dropout": 0.5, "kind": "linear"}}, set()),
        ({"head_loss": "focal", "focal_gamma": 0.5}, set()),
        ({"focal_gamma": 0.5}, {"train.focal_gamma"}),
        ({"miner": "all", "metric_loss": "contrastive"}, {"train.miner"}),
        # What it depends on is itself not used.
        ({"margin": 0.3, "triplet_weight": 0.0}, {"train.margin"}),
        ({"step_epochs": 3, "schedule": "plateau"}, {"train.step_epochs"}),
        # Triplets come in groups, whatever the sampler.
        ({"batch_size": 32, "sampler": "uniform"}, {"train.batch_size"}),
        ({"batch_size": 32, "sampler": "uniform", "triplet_weight": 0.0}, set()),
    ],
)
def test_a_setting_is_unused_where_another_one_says_so(
    train: dict[str, Any], unused: set[str]
) -> None:
    assert set(find_unused(make_recipe({"train": train}, "test"))) == unused


@pytest.mark.parametrize(
    ("decide", "unused"),
    [
        ({"least_probability": 0.4}, set()),
        ({"least_probability": 0.4, "min_precision": 0.9}, {"decide.least_probability"}),
        ({"least_probability": 0.4, "policy": "head"}, {"decide.least_probability"}),
        ({"reject_share": 0.9}, {"decide.reject_share"}),
        ({"reject_share": 0.9, "policy": "head"}, set()),
        ({"reject_below": 0.2, "policy": "torino"}, {"decide.reject_below"}),
    ],
)
def test_a_threshold_is_unused_where_another_one_rejects(
    decide: dict[str, Any], unused: set[str]
) -> None:
    assert set(find_unused(make_recipe({"decide": decide}, "test"))) == unused


def test_a_reason_names_no_long_list_of_values() -> None:
    recipe = make_recipe({"decide": {"reject_share": 0.9}}, "test")
    assert find_unused(recipe) == {"decide.reject_share": "decide.policy is 'calibrated'"}


def test_what_one_model_of_an_ensemble_uses_is_used() -> None:
    members = {"a": {}, "b": {"train": {"head": {"kind": "linear"}}}}
    values = {"train": {"head": {"dropout": 0.5}}, "ensemble": {"members": members}}
    assert find_unused(make_recipe(values, "test")) == {}
    del members["b"]["train"]
    assert list(find_unused(make_recipe(values, "test"))) == ["train.head.dropout"]


def test_the_check_names_what_is_unused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[train.pooling]\ngrid = 3\n")
    check(str(path))
    line = "  train.pooling.grid changes nothing: train.pooling.kind is 'gem', not 'flatten'\n"
    assert capsys.readouterr().out.endswith(line)


def test_a_change_that_changes_nothing_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[search]\nwhiten_power = 0.25\n")
    data = make_dataset(tmp_path / "data")
    changes = ["search.whiten_dim = 4", "train.seed=3"]
    with caplog.at_level(logging.WARNING):
        start_job(data, tmp_path / "run", str(recipe), None, 0, False, changes=changes)
    assert [record.getMessage() for record in caplog.records] == [
        "--set search.whiten_dim = 4 changes nothing: search.whiten is False"
    ]
