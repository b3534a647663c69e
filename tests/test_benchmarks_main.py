"""`python -m tests.benchmarks`: its help names every benchmark, and how those are run that are not.

No benchmark is run here but one that stands in for it.
"""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.__main__ import ALONE, OF_NOTHING, OF_RUN, main

FOLDER = Path(__file__).parent / "benchmarks"


def test_every_benchmark_is_listed() -> None:
    there = {path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")}
    assert there == {*OF_RUN, *OF_NOTHING, *ALONE}


def test_the_help_says_what_each_measures_and_how_it_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m tests.benchmarks [-h] [--run RUN] [NAME ...]")
    assert "  store      How many local features a second one thread reads" in told
    assert "  python -m tests.benchmarks.bench_memory DATA --into FOLDER\n      The memory" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stores"], "no benchmark 'stores' here\n"),
        (["tables"], "no benchmark 'tables' here; it is run alone: python -m tests.benchmarks.ben"),
        (["--run", "nowhere"], "no run in nowhere: `make submission` makes runs/demo; or name"),
    ],
)
def test_what_cannot_be_run_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_those_that_are_named_are_run_with_what_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, run in (("query", lambda run: f"of {run}"), ("store", lambda: "of nothing")):
        fake = ModuleType(name)
        fake.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, benchmarks._module(name), fake)
    (tmp_path / "run.json").touch()
    main(["store", "query", "--run", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::3] == ["of nothing", f"of {tmp_path}"]
