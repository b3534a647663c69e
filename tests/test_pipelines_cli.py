"""The command line: help that says all, advice without a traceback, tracebacks for our bugs."""

import importlib.metadata
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classify_head.promise import measure_promises
from embed.errors import InputError, install_extra
from pipelines import cli
from pipelines.answers.decision import load_known_answers
from pipelines.faults import OURS
from tests.conftest import Tiny
from tests.datasets import accept_changes, cairn, list_commands, make_recipe_file

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = list_commands()
# What these ask for is done, or not: there is no default to tell.
OPTIONAL = {"--submission", "--solution", "--steps", "--remove", "--into"}
OPTIONAL |= {"--ids", "--min-count", "--max-count", "--top", "--cap"}
OPTIONAL |= {"--test", "--non-landmark", "--names"}
STAGES = ("train", "embed", "index", "submit")


def plain(text: str) -> str:
    """Return the words of a help screen: no boxes, no line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_help_lists_every_command_in_its_group() -> None:
    end = cairn("--help")
    assert end.status == 0
    for title in (cli.MAKE, cli.QUERY, cli.EVALUATE):
        assert title in end.out
    positions = [end.out.index(f" {name} ") for name in ("data", "train", "query", "evaluate")]
    assert positions == sorted(positions)
    shown = "".join([end.out, *(cairn(group, "--help").out for group in ("data", "recipe"))])
    assert all(re.search(rf"│ {name.split()[-1]} ", shown) for name in COMMANDS)


def test_the_version_is_that_of_the_package() -> None:
    end = cairn("--version")
    assert (end.status, end.out) == (0, f"cairn {importlib.metadata.version('cairn')}\n")


def test_nothing_asked_is_help() -> None:
    for group in ((), ("data",)):
        assert f"Usage: {' '.join(('cairn', *group))}" in cairn(*group).out + cairn(*group).err


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, flag: str) -> None:
    end = cairn(*name.split(), flag)
    assert end.status == 0
    assert f"Usage: cairn {name}" in end.out
    for parameter in COMMANDS[name].params:
        if hasattr(parameter, "is_flag"):
            assert parameter.opts[0] in end.out


@pytest.mark.parametrize("words", [(), *(name.split() for name in COMMANDS)])
def test_help_asks_for_no_value_of_a_flag(words: Sequence[str]) -> None:
    assert "bool" not in cairn(*words, "--help").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_that_is_no_flag_shows_its_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = plain(cairn(*name.split(), "--help").out)
    for parameter in COMMANDS[name].params:
        option = parameter.opts[0]
        named = option.startswith("--") and not getattr(parameter, "is_flag", False)
        if not named or parameter.required or option in OPTIONAL:
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
        (("data", "demo", "--seed", "many"), "--seed"),
        (("train", "--devices", "0"), "--devices"),
        (("train", "--workers", "-1"), "--workers"),
        (("query", "a.jpg", "--neighbors", "-1"), "--neighbors"),
        (("query", "a.jpg", "--min-precision", "1"), "--min-precision"),
        (("submit", "--min-precision", "0"), "--min-precision"),
        (("index", "--min-precision", "95"), "95.0 is no share between 0 and 1"),
        (("compare", "a", "--steps", "knn"), "--steps"),
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
        "or name yours: --data (of a run whose dataset was moved, too: it says where that is now)"
    )


def test_a_missing_recipe_or_weights_file_is_named(finished: Tiny, tmp_path: Path) -> None:
    names = ["--data", finished.data, "--run", tmp_path / "run"]
    assert "no recipe 'fast'" in cairn("train", *names, "--recipe", "fast").err
    end = cairn("train", *names, "--weights", tmp_path / "w.safetensors")
    assert (end.status, "no weights file at" in end.err) == (1, True)
    assert not (tmp_path / "run").exists()


def test_data_from_folders_says_what_it_made(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "tower" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"\xff\xd8\xff")
    end = cairn("data", "folders", tmp_path / "photos", "--data", tmp_path / "data")
    assert end.status == 0
    assert end.out == f"{tmp_path / 'data'}: 1 landmarks, 1 train, 0 test, 0 non_landmark\n"


@pytest.mark.parametrize(
    "error", [KeyError("a bug"), ValueError("a bug"), FileNotFoundError(2, "x")]
)
def test_an_error_of_ours_is_said_to_be_ours(
    error: Exception, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.scores.evaluate.evaluate_run", fail)
    end = cairn("evaluate", "--run", tiny.run)
    assert end.status == OURS
    (path,) = tiny.run.glob("fault-*.txt")
    said, where, line = end.err.splitlines()
    name = type(error).__name__
    assert said.startswith(f"error: this is a fault of Cairn, not of what you gave it: {name}: ")
    assert where == f"The traceback is in {path}; please report it with this line:"
    assert re.fullmatch(
        rf"cairn \S+, Python \S+, .+: `cairn evaluate` ended in {name} at pipelines/\S+:\d+", line
    )
    text = path.read_text()
    assert text.startswith(f"{line}\n")
    assert "Traceback (most recent call last)" in text and "in evaluate" in text
    monkeypatch.setenv("CAIRN_DEBUG", "1")
    with pytest.raises(type(error)):
        cairn("evaluate", "--run", tiny.run)


def test_a_fault_without_a_run_is_written_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("pipelines.sources.demo.render_demo", fail)
    monkeypatch.chdir(tmp_path)
    assert cairn("data", "demo").status == OURS
    assert len(list(tmp_path.glob("fault-*.txt"))) == 1


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (InputError("mend it"), "error: mend it\n"),
        (PermissionError(13, "no", "a/b"), "error: a/b: permission denied\n"),
        (OSError(28, "no space", "a/b"), "error: the disk is full; free some space and run the "),
        (MemoryError("12 GB"), "error: the memory is full; end other programs, or lower the "),
        (ModuleNotFoundError("No", name="torch"), "error: torch is not installed, and this needs"),
    ],
)
def test_what_the_user_can_mend_is_advice(
    error: Exception, advice: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.scores.evaluate.evaluate_run", fail)
    end = cairn("evaluate", "--run", tiny.run)
    assert (end.status, end.err[: len(advice)]) == (1, advice)
    assert not list(tiny.run.glob("fault-*.txt"))


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys; from pipelines.cli import main\n"
        "sys.argv = ['cairn', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print([m for m in ('numpy', 'pydantic', 'pyarrow') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_an_extra_that_is_missing_is_named_before_anything_is_done(
    fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    end = cairn("run", *fresh.options, "--tensorboard", fresh.run / "curves")
    assert end.status == 1
    assert end.err == f"error: TensorBoard is not installed; {install_extra('tensorboard')}\n"
    assert not fresh.run.exists()


def test_an_interrupt_says_how_to_go_on(finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.scores.evaluate.evaluate_run", interrupt)
    end = cairn("evaluate", "--run", finished.run)
    assert end.status != 0
    assert "Traceback" not in end.err


def test_min_precision_sets_the_threshold_of_a_run(tiny: Tiny) -> None:
    # Views of flat textures overlap so much that else none would be left to be right about.
    make_recipe_file(tiny.recipe, "[decide]\nmax_overlap = 1.0\n")
    before = (tiny.run / "index" / "vectors.npy").stat().st_mtime_ns
    end = cairn("index", *tiny.options, "--min-precision", 0.6)
    assert end.status == 0, end.err
    assert (tiny.run / "index" / "vectors.npy").stat().st_mtime_ns == before
    settings = json.loads((tiny.run / "run.json").read_text())["settings"]
    assert settings["decide"]["min_precision"] == 0.6
    answered = load_known_answers(tiny.run)
    assert not answered.correct.all()
    threshold = json.loads((tiny.run / "decision" / "decision.json").read_text())["threshold"]
    precise = [
        value
        for value in answered.confidences
        if all(
            promise.precision(0.5) >= 0.6
            for promise in measure_promises(*answered.judged, value).values()
        )
    ]
    assert threshold == min(precise)
    # The run remembers.
    assert cairn("submit", "--run", tiny.run, "--workers", 0).status == 0
    again = json.loads((tiny.run / "decision" / "decision.json").read_text())["threshold"]
    assert again == threshold


def test_a_query_says_what_its_precision_costs(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    known = {
        "query_id": ["a", "b", "c", "d", "a"],
        "kind": ["landmark", "landmark", "pool", "landmark", "removed"],
        "truth": [1, 2, -1, 4, -1],
        "landmark_id": [1, 2, 3, 4, 5],
        "confidence": [0.9, 0.8, 0.7, 0.6, 0.1],
    }
    pq.write_table(pa.table(known), tiny.run / "decision" / "known_queries.parquet")
    accept_changes(tiny.run / "decision")
    caplog.set_level(logging.INFO)
    photo = tiny.data / "images" / "q0.jpg"
    assert cairn("query", photo, "--run", tiny.run, "--min-precision", 0.9).status == 0
    assert "answers from confidence 0.800 on: if 50% of the photos show other things" in caplog.text
    expected = (
        "50% of the photos show landmarks that the database lacks: 33% get an answer, 100.0% of"
    )
    assert expected in caplog.text
    caplog.clear()
    assert cairn("query", photo, "--run", tiny.run, "--min-precision", 0.5).status == 0
    assert "from confidence 0.100 on" in caplog.text
    assert "other things, like the pool: 100% get an answer, 50.0% of these" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("urls", "a.csv", "--size", "huge", "--data", "x"), "size = 'huge': size 'huge' is not"),
        (
            ("balance", "a", "--into", "b", "--upsample-to", 999),
            "upsample_to = 999: expected 249 or less",
        ),
    ],
)
def test_a_setting_that_is_refused_is_one_line(arguments: tuple[object, ...], message: str) -> None:
    end = cairn("data", *arguments)
    assert end.status == 1
    assert end.err.startswith(f"error: {message}")
    assert end.err.count("\n") == 1


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.sources.demo.render_demo", interrupt)
    end = cairn("data", "demo")
    assert (end.status, end.err) == (130, "")  # the process says the rest when it ends


def test_warnings_and_errors_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """In a process of its own: here, pytest has the log."""
    names = (b"photos/tower/a.jpg", b"photos/new\nline\x1b[31m\xe9/b.jpg")
    for name in names:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff")
    program = [sys.executable, "-m", "pipelines", "data", "folders"]
    options = ["--data", str(tmp_path / "data")]
    end = subprocess.run(
        [*program, str(tmp_path / "photos"), *options], cwd=ROOT, capture_output=True
    )
    assert end.returncode == 0
    assert b"whose names are no UTF-8 (rename them): new line [31m\\xe9/\n" in end.stderr
    end = subprocess.run(
        [*program, b"absent\n\x1b[31m\xe9", *options], cwd=ROOT, capture_output=True
    )
    assert end.returncode == 1
    assert b"no folder at absent  [31m\\xe9; name" in end.stderr


def test_an_empty_argument_is_no_folder(tiny: Tiny) -> None:
    end = cairn("data", "clean", tiny.run, "--into", "")
    assert (end.status, end.err) == (2, "error: an argument is empty; is a variable not set?\n")


def test_a_recipe_file_of_another_suffix_is_no_unknown_name(fresh: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    end = cairn("train", "--data", fresh.data, "--recipe", tmp_path / "mine.txt")
    assert end.status == 1
    assert "mine.txt is no recipe: that is a file whose name ends in .toml" in end.err
