"""What --time chooses: the strongest network that is done in it, once a run. Nothing is fetched."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from embed import hub
from embed.strong_backbones import STRONG_BACKBONES
from pipelines.commands.options import parse_time
from pipelines.runs.job import Job
from pipelines.runs.recipe import Recipe, load_recipe
from pipelines.stages import strongest
from pipelines.stages.plan import count_work
from pipelines.stages.strongest import SHARE, Candidate, choose_by_time, list_candidates, measure
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file

ORDER = [
    "untrained with mobilenetv2_100",
    "photos with mobilenetv2_100",
    "frozen with vit_small_patch14_reg4_dinov2",
    "frozen with vit_base_patch14_reg4_dinov2",
    "frozen with vit_large_patch14_reg4_dinov2",
]


class Machine:
    """Stands in for what is measured: a second for so many GFLOPs, whatever the network."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.measured: list[str] = []

    def measure(self, recipe: Recipe) -> float:
        """Return the seconds of an image."""
        network = recipe.train.backbone.partition(".")[0]
        self.measured.append(network)
        return STRONG_BACKBONES[network].gflops / 1000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine of known speed that reaches the hub."""
    found = Machine()
    monkeypatch.setattr(strongest, "measure", found.measure)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, timeout: None)
    return found


def make(data: Path, run: Path) -> Job:
    return Job(data, run, load_recipe("photos"), "photos")


def takes(job: Job, candidate: Candidate) -> float:
    """Return the whole time that a candidate needs on the machine."""
    work = count_work(replace(job, recipe=candidate.recipe))
    passes = work["train"].items + work["embed"].items
    return passes * STRONG_BACKBONES[candidate.network].gflops / 1000 / SHARE


def test_the_candidates_are_those_of_the_table_weakest_first() -> None:
    candidates = list_candidates()
    assert [str(each) for each in candidates] == ORDER
    for each in candidates[2:]:
        row = STRONG_BACKBONES[each.network]
        assert each.recipe.train.backbone == f"{each.network}.{row.weights}"
        assert each.recipe.train.image_size == row.image_size
        assert each.recipe.train.reads_token


def test_more_time_takes_a_stronger_network(fresh: Tiny, machine: Machine) -> None:
    job = make(fresh.data, fresh.run)
    whole = {str(each): takes(job, each) for each in list_candidates()}
    for name, seconds in whole.items():
        chosen = choose_by_time(job, seconds * 1.0001)
        fitting = [other for other in ORDER if whole[other] <= seconds * 1.0001]
        assert f"{chosen.recipe_name} with {strongest._network(chosen)}" == fitting[-1]
        assert chosen.timed is not None and chosen.timed["reckoned"][name] == pytest.approx(
            seconds * SHARE
        )
    assert chosen.recipe.train.backbone == "vit_large_patch14_reg4_dinov2.lvd142m"


def test_a_network_is_measured_once_and_one_far_too_large_not_at_all(
    fresh: Tiny, machine: Machine
) -> None:
    job = make(fresh.data, fresh.run)
    small = takes(job, list_candidates()[2])
    choose_by_time(job, small * 1.01)
    assert machine.measured == ["mobilenetv2_100", "vit_small_patch14_reg4_dinov2"]


def test_one_line_says_what_was_reckoned_and_taken(
    fresh: Tiny, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    choose_by_time(make(fresh.data, fresh.run), 600)
    (line,) = caplog.messages
    assert line.startswith("600 s, of which the network may take 300: untrained with mobilenetv2")
    assert line.endswith("; takes frozen with vit_large_patch14_reg4_dinov2")
    assert all(name in line for name in ORDER)


def test_where_no_network_is_fast_enough_the_fastest_is_taken(
    fresh: Tiny, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chosen = choose_by_time(make(fresh.data, fresh.run), 1e-3)
    assert chosen.recipe == load_recipe("untrained")
    assert caplog.messages[-1].endswith(
        "takes untrained with mobilenetv2_100, the fastest, for none does it in time"
    )


def test_without_the_hub_the_default_stays(
    fresh: Tiny,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "get_hf_file_metadata", refuse)
    caplog.set_level(logging.INFO)
    job = make(fresh.data, fresh.run)
    assert choose_by_time(job, 600) is job
    assert caplog.messages == [
        "--time changes nothing: the recipe is 'photos' with mobilenetv2_100, for the hub that has "
        "others cannot be reached (ConnectionError: no route)"
    ]
    assert not machine.measured


def test_a_weights_file_says_what_is_taken(
    fresh: Tiny, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = replace(make(fresh.data, fresh.run), weights=Path("mine.safetensors"))
    assert choose_by_time(job, 600) is job
    assert "--time changes nothing" in caplog.text and "mine.safetensors" in caplog.text
    assert not machine.measured


@pytest.fixture
def small(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Candidate]:
    """Let --time choose among networks of the tests, of random weights."""
    candidates = []
    vit = STRONG_BACKBONES["vit_small_patch14_reg4_dinov2"]
    for name, pooling in (("test_resnet", "gem"), ("test_vit", "cls-gem")):
        changes = f"[train]\nbackbone = '{name}'\nepochs = 0\ndim = 0\npooling.kind = '{pooling}'\n"
        path = make_recipe_file(tmp_path / f"{name}.toml", changes)
        candidates.append(Candidate(str(path), load_recipe(str(path))))
        gflops = len(candidates) * 1.0
        monkeypatch.setitem(STRONG_BACKBONES, name, replace(vit, gflops=gflops))
    monkeypatch.setattr(strongest, "list_candidates", lambda: candidates)
    return candidates


def test_a_second_command_takes_what_the_first_chose(
    fresh: Tiny, small: list[Candidate], machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["--data", fresh.data, "--run", fresh.run, "--workers", 0]
    end = cairn("embed", *names, "--time", "10m")
    assert end.status == 0, end.err
    recorded = json.loads((fresh.run / "run.json").read_text())
    assert recorded["settings"]["train"]["backbone"] == "test_vit"
    assert recorded["time"]["asked"] == 600
    assert list(recorded["time"]["reckoned"]) == [str(each) for each in small]
    assert machine.measured == ["test_resnet", "test_vit"]
    caplog.set_level(logging.INFO)
    made = (fresh.run / "run.json").read_bytes()
    for more in (["--time", "10 minutes"], []):
        caplog.clear()
        assert cairn("index", *names, *more).status == 0
        assert "--time" not in caplog.text
        assert (fresh.run / "run.json").read_bytes() == made
    assert cairn("index", *names, "--time", "1h").status == 0
    assert "name another --run to choose anew" in caplog.text
    assert machine.measured == ["test_resnet", "test_vit"]
    # Whoever names a recipe has chosen, not the time.
    end = cairn("train", *names, "--recipe", small[0].name, "--redo")
    assert end.status == 0, end.err
    assert "time" not in json.loads((fresh.run / "run.json").read_text())


def test_a_run_that_ended_before_it_had_a_model_chooses(
    fresh: Tiny, small: list[Candidate], machine: Machine
) -> None:
    make(fresh.data, fresh.run).record()
    end = cairn("train", "--run", fresh.run, "--workers", 0, "--time", "10m")
    assert end.status == 0, end.err
    assert json.loads((fresh.run / "run.json").read_text())["recipe"] == small[-1].name


def test_a_run_with_a_model_keeps_it(
    finished: Tiny, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job = make(finished.data, finished.run)
    assert choose_by_time(job, 600) is job
    assert not machine.measured
    assert f"as {finished.run} was begun; name another --run" in caplog.text


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--recipe", "frozen"], "--recipe frozen"),
        (["--set", "train.backbone=resnet50"], "--set train.backbone=resnet50"),
    ],
)
def test_time_beside_a_network_says_which_to_leave_away(
    more: list[str], named: str, fresh: Tiny
) -> None:
    end = cairn("run", "--data", fresh.data, "--run", fresh.run, "--time", "10m", *more)
    assert end.status == 1
    assert f"--time chooses the network, which {named} names: leave one away" in end.err
    assert not fresh.run.exists()


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "10x", "0s", "10m and more", "ten minutes"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"no length of time like 10m, 90s, 1h or 1h30m"):
        parse_time(text)


def test_a_bad_time_ends_before_anything_is_read() -> None:
    end = cairn("train", "--time", "soon")
    assert end.status == 2 and "'soon' is no length of time like 10m" in end.err


@pytest.mark.parametrize("network", ["test_resnet", "test_vit"])
def test_a_network_is_measured_in_seconds_an_image(network: str, tmp_path: Path) -> None:
    kind = "cls-gem" if network == "test_vit" else "gem"
    changes = f"[train]\nbackbone = '{network}'\npooling.kind = '{kind}'\n"
    seconds = measure(load_recipe(str(make_recipe_file(tmp_path / "tiny.toml", changes))))
    assert 0 < seconds < math.inf
