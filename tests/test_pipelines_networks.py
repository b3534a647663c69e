"""The network of a weights file is what is trained and recorded, or what contradicts it fails."""

import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from embed.errors import InputError
from pipelines.runs.job import Job, find_moved
from pipelines.runs.networks import check_networks, settle_network
from pipelines.runs.recipe import make_recipe
from pipelines.stages.training_checks import check_devices, check_training
from pipelines.stages.training_set import load_training_set
from tests.conftest import Tiny
from tests.datasets import cairn, make_job, make_recipe_file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file whose metadata say what its weights are of."""
    path = tmp_path_factory.mktemp("weights") / "efficientnet.safetensors"
    network = timm.create_model("test_efficientnet")
    metadata = {"architecture": "test_efficientnet", "mean": ".4,.4,.4"}
    save_file(network.state_dict(), path, metadata)
    return path


def make(weights: Path | None, backbone: str, **members: str) -> Job:
    values = {
        "train": {"backbone": backbone},
        "ensemble": {"members": {n: {"train": {"backbone": b}} for n, b in members.items()}},
    }
    return Job(Path("data"), Path("no-run"), make_recipe(values, "test"), "test", weights)


def test_the_network_of_the_file_takes_the_place_of_the_recipes(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = settle_network(make(weights, "test_resnet"), ["train.epochs=1"])
    assert job.recipe.train.backbone == "test_efficientnet"
    assert caplog.messages == [
        "the weights file efficientnet.safetensors is of 'test_efficientnet': this is trained, "
        "not the recipe's 'test_resnet'"
    ]


@pytest.mark.parametrize("named", ["test_resnet", "nosuchnet"])
def test_a_network_that_was_asked_for_is_not_overruled(weights: Path, named: str) -> None:
    with pytest.raises(InputError) as caught:
        settle_network(make(weights, named), [f"train.backbone={named}"])
    for part in (f"'{named}'", "'test_efficientnet'", str(weights), "--weights FILE"):
        assert part in str(caught.value)


def test_an_ensemble_of_other_networks_is_not_made_of_one(weights: Path) -> None:
    job = make(weights, "test_resnet", a="test_efficientnet", b="test_vit")
    with pytest.raises(InputError, match=r"ensemble\.members\.b\.train\.backbone is 'test_vit'"):
        settle_network(job, [])


def test_the_name_of_weights_makes_no_other_network(weights: Path) -> None:
    job = make(weights, "test_efficientnet.r160_in1k")
    assert settle_network(job, ["train.backbone=test_efficientnet.r160_in1k"]) is job


def test_what_is_recorded_is_what_was_trained(fresh: Tiny, weights: Path, tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "other.toml", "[train]\nepochs = 0\n")
    names = ["--data", fresh.data, "--run", fresh.run, "--workers", 0]
    end = cairn("train", *names, "--recipe", recipe, "--weights", weights)
    assert end.status == 0, end.err
    recorded = json.loads((fresh.run / "run.json").read_text())
    model = json.loads((fresh.run / "model" / "model.json").read_text())
    manifest = json.loads((fresh.run / "model" / "manifest.json").read_text())
    assert recorded["settings"]["train"]["backbone"] == "test_efficientnet"
    assert manifest["settings"]["train"]["backbone"] == "test_efficientnet"
    assert manifest["model"]["backbone"] == model["spec"]["backbone"]
    assert model["spec"]["backbone"]["architecture"] == "test_efficientnet"
    assert model["spec"]["backbone"]["mean"] == [0.4] * 3
    assert manifest["model"]["training_precision"] == "float32"
    # And with the run alone, the same.
    assert cairn("train", "--run", fresh.run, "--workers", 0).status == 0


def test_a_set_network_that_contradicts_the_file_ends_before_anything_is_done(
    fresh: Tiny, weights: Path
) -> None:
    names = ["--data", fresh.data, "--run", fresh.run, "--recipe", fresh.recipe]
    end = cairn("run", *names, "--weights", weights, "--set", "train.backbone=resnet50")
    assert end.status == 1
    assert "train.backbone is 'resnet50', but the weights file" in end.err
    assert not fresh.run.exists()


def test_an_unknown_network_is_named_before_the_data_are_read(fresh: Tiny) -> None:
    (fresh.data / "train.csv").write_text("no table\n")
    end = cairn("run", *fresh.options, "--set", "train.backbone=resnet5O")
    assert end.status == 1
    assert "timm has no network 'resnet5O' (train.backbone); close names: " in end.err


def test_a_recipe_that_takes_back_what_was_set_is_told_of(
    finished: Tiny, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    assert cairn("index", *tiny.options, "--min-precision", 0.75).status == 0
    caplog.clear()
    caplog.set_level(logging.INFO)
    assert cairn("index", *tiny.options).status == 0
    expected = f"{tiny.run} was begun with other settings: now others are decide.min_precision"
    assert expected in caplog.messages


def test_data_beside_a_run_of_others_are_told_to_be_of_no_use(
    finished: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_moved(finished.data, finished.run) is None
    assert caplog.messages == []
    assert find_moved(tmp_path, finished.run) is None
    assert f"--data {tmp_path} changes nothing: {finished.run} is of {finished.data}" in caplog.text


def test_a_share_that_a_validation_table_overrules_is_told_of(
    fresh: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    rows = (fresh.data / "train.csv").read_text().splitlines()
    (fresh.data / "train.csv").write_text("\n".join(rows[:-1]) + "\n")
    (fresh.data / "validation.csv").write_text(f"{rows[0]}\n{rows[-1]}\n")
    job = make_job(fresh.data, fresh.run, fresh.recipe)
    caplog.set_level(logging.INFO)
    check_training(load_training_set(job.dataset, job.recipe.train), job)
    assert "train.validation_share = 0.25 changes nothing: " in caplog.text
    assert "a batch has all" not in caplog.text


def test_more_gpus_than_there_are_end_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_devices(1)
    with pytest.raises(InputError, match="--devices 2, but there are 1 GPUs here"):
        check_devices(2)


def test_a_stride_that_the_network_lacks_ends_before_any_training(fresh: Tiny) -> None:
    member = {"train": {"pooling": {"kind": "dolg", "stride": 12}}}
    members = {"first": {}, "second": member}
    recipe = make_recipe({"train": {"pretrained": False}, "ensemble": {"members": members}}, "test")
    with pytest.raises(InputError, match=r"train\.pooling\.stride = 12: ResNet has .* only of"):
        check_networks(Job(fresh.data, fresh.run, recipe, "test"))


def test_the_first_network_of_an_ensemble_alone_has_the_maps_of_delf(fresh: Tiny) -> None:
    def check(*names: str) -> None:
        train = {"pretrained": False}
        members = {name: {"train": {"backbone": name}} for name in names}
        rerank = {"method": "delf", "delf": {"stride": 8}}
        values = {"train": train, "rerank": rerank, "ensemble": {"members": members}}
        check_networks(Job(fresh.data, fresh.run, make_recipe(values, "test"), "test"))

    check("resnet18", "vit_tiny_patch16_224")
    with pytest.raises(InputError, match=r"rerank\.delf\.stride = 8: VisionTransformer"):
        check("vit_tiny_patch16_224", "resnet18")


def test_a_trained_model_needs_no_network_of_timm(finished: Tiny) -> None:
    recipe = make_recipe({"train": {"backbone": "gone"}}, "test")
    check_networks(Job(finished.data, finished.run, recipe, "test"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["train.backbone=test_vit", "train.image_size=40"], "40 pixels, train.image_size: "),
        (
            ["train.backbone=test_vit", "train.phases=[{epochs=2, image_size=40}]"],
            "40 pixels, train.phases.0.image_size: ",
        ),
    ],
)
def test_a_size_of_images_that_the_network_cannot_take_is_named(
    changes: list[str], named: str, fresh: Tiny
) -> None:
    end = cairn("run", *fresh.options, *(part for change in changes for part in ("--set", change)))
    assert end.status == 1
    assert f"'test_vit' takes no images of {named}" in end.err
    assert "divisible by patch size" in end.err and "160 it was made for" in end.err
