"""The command line: help that says all, advice without a traceback, tracebacks for our bugs."""

import re
from pathlib import Path

import click
import pytest
import typer

from pipelines import cli
from tests.conftest import Tiny
from tests.datasets import cairn

GROUP = typer.main.get_command(cli.app)
assert hasattr(GROUP, "commands")
COMMANDS: dict[str, click.Command] = GROUP.commands
STAGES = ("train", "embed", "index", "submit")


def plain(text: str) -> str:
    """Return the words of a help screen: no boxes, no line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_help_lists_every_command_in_its_group() -> None:
    end = cairn("--help")
    assert end.status == 0
    for title in (cli.MAKE, cli.ASK, cli.JUDGE):
        assert title in end.out
    positions = [end.out.index(f" {name} ") for name in ("data", "train", "query", "evaluate")]
    assert positions == sorted(positions)
    assert all(re.search(rf"│ {name} ", end.out) for name in COMMANDS)


def test_nothing_asked_is_help() -> None:
    assert "Usage: cairn" in cairn().out + cairn().err


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, flag: str) -> None:
    end = cairn(name, flag)
    assert end.status == 0
    assert f"Usage: cairn {name}" in end.out
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) or hasattr(parameter, "is_flag"):
            assert parameter.opts[0] in end.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_is_no_flag_shows_its_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = plain(cairn(name, "--help").out)
    for parameter in COMMANDS[name].params:
        option = parameter.opts[0]
        # A file that is asked for, or not, has no default to tell.
        optional = option in {"--from", "--submission", "--solution"}
        if not option.startswith("--") or getattr(parameter, "is_flag", False) or optional:
            continue
        own = text.split(f" {option} ", 1)[1].split(" --", 1)[0]
        assert "[default: " in own, f"cairn {name} {option}: {own}"


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_takes_what_names_a_job(name: str) -> None:
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--data", "--run", "--recipe", "--weights", "--workers", "--redo"} <= known


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("submit", "--recipee", "demo"), "--recipee"),
        (("sumbit",), "sumbit"),
        (("data", "--seed", "many"), "--seed"),
        (("train", "--devices", "0"), "--devices"),
        (("train", "--workers", "-1"), "--workers"),
        (("query", "a.jpg", "--neighbors", "-1"), "--neighbors"),
    ],
)
def test_what_is_not_understood_names_it(arguments: tuple[str, ...], named: str) -> None:
    end = cairn(*arguments)
    assert end.status == 2
    assert named in end.err
    assert "Traceback" not in end.err


@pytest.mark.parametrize("name", STAGES)
def test_a_missing_dataset_says_how_to_make_one(name: str, tmp_path: Path) -> None:
    end = cairn(name, "--data", tmp_path / "absent", "--run", tmp_path / "run")
    assert end.status == 1
    assert end.err.strip() == (
        f"error: no dataset folder at {tmp_path / 'absent'}; make one with `cairn data`, "
        "or name yours: --data"
    )


def test_a_missing_recipe_or_weights_file_is_named(finished: Tiny, tmp_path: Path) -> None:
    names = ["--data", finished.data, "--run", tmp_path / "run"]
    assert "no recipe 'fast'" in cairn("train", *names, "--recipe", "fast").err
    end = cairn("train", *names, "--weights", tmp_path / "w.safetensors")
    assert (end.status, "no weights file at" in end.err) == (1, True)
    assert not (tmp_path / "run").exists()


def test_data_needs_to_know_of_what(tmp_path: Path) -> None:
    assert "--demo, or --from FOLDER" in cairn("data").err
    assert cairn("data", "--demo", "--from", tmp_path).status == 1


def test_data_from_folders_says_what_it_made(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "tower" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.touch()
    end = cairn("data", "--from", tmp_path / "photos", "--data", tmp_path / "data")
    assert end.status == 0
    assert end.out == f"{tmp_path / 'data'}: 1 landmarks, 1 train, 0 test, 0 non_landmark\n"


def test_an_error_of_ours_keeps_its_traceback(
    finished: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("pipelines.evaluate.evaluate_run", fail)
    with pytest.raises(KeyError, match="a bug"):
        cairn("evaluate", "--run", finished.run)


def test_an_interrupt_says_how_to_go_on(finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.evaluate.evaluate_run", interrupt)
    end = cairn("evaluate", "--run", finished.run)
    assert end.status != 0
    assert "Traceback" not in end.err
