"""Comparing runs, submissions and steps: the paired figures, and refusals to compare others."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from classify_head.answers import Answers
from classify_head.comparison import compare_answers
from pipelines.artifacts import read_signed, write_signed
from pipelines.scores.compare import compare_runs, compare_steps
from tests.conftest import Tiny
from tests.datasets import QUERIES, cairn, write_table

IDS = [f"p{number:02d}" for number in range(14)]


def write_submission(path: Path, right: int, ids: Sequence[str] = IDS) -> list[str]:
    """Write answers with label 1, the first of them right; return the cells."""
    cells = [f"{place < right:d} {1 - place / 100}" for place in range(len(ids))]
    pairs = zip(ids, cells, strict=True)
    write_table(path, "id,landmarks", [f"{query_id},{cell}" for query_id, cell in pairs])
    return cells


@pytest.fixture
def solution(tmp_path: Path) -> Path:
    """Return a solution by which label 1 is always right."""
    write_table(tmp_path / "sol.csv", "id,landmarks,Usage", [f"{name},1,Public" for name in IDS])
    return tmp_path / "sol.csv"


def make_answers(right: int) -> Answers:
    rows = enumerate(IDS)
    return Answers.from_rows(
        (query_id, int(place < right), 1 - place / 100, [1]) for place, query_id in rows
    )


def test_figures_are_those_of_the_paired_bootstrap(tmp_path: Path, solution: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    write_submission(a, right=1)
    write_submission(b, right=13)
    end = cairn("compare", a, b, "--solution", solution, "--json")
    assert (end.status, end.err) == (0, "")
    found = json.loads(end.out)
    expected = asdict(compare_answers(make_answers(1), make_answers(13)))
    assert found["comparison"] == json.loads(json.dumps(expected))
    # One right answer at rank 1, or 13 at ranks 1 to 13, of 14 landmarks.
    assert (found["gap_a"], found["gap_b"]) == (pytest.approx(1 / 14), pytest.approx(13 / 14))
    assert (found["a"], found["b"]) == (str(a), str(b))
    assert found["comparison"]["became_right"] == IDS[1:13]


def test_the_table_names_the_first_ten(tmp_path: Path, solution: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    write_submission(a, right=1)
    write_submission(b, right=13)
    out = cairn("compare", a, b, "--solution", solution).out
    assert f"became right in b: 12 ({', '.join(IDS[1:11])}, ...)" in out
    assert "became wrong in b: 0\n" in out
    assert "b is better in 100.0% of the resamples; more than chance" in out
    assert "+0.8571" in out


def test_the_same_answers_do_not_differ(finished: Tiny) -> None:
    compared = compare_runs(finished.run, finished.run / "submission.csv", _solution(finished))
    found = compared.comparison
    assert (found.difference, found.low, found.high, found.share_better) == (0, 0, 0, 0)
    assert compared.gap_a == compared.gap_b == 1
    out = cairn("compare", finished.run, finished.run).out
    assert "the interval holds 0, so it may be chance" in out


def _solution(tiny: Tiny) -> Path:
    return tiny.data / "solution.csv"


def test_steps_of_a_run_are_compared_with_its_own_solution(finished: Tiny) -> None:
    end = cairn("compare", finished.run, "--steps", "knn", "final", "--json")
    assert end.status == 0, end.err
    found = json.loads(end.out)
    steps = json.loads((finished.run / "metrics.json").read_text())["steps"]
    assert (found["a"], found["b"]) == ("knn", "final")
    assert (found["gap_a"], found["gap_b"]) == (steps["knn"]["gap"], steps["final"]["gap"])
    assert found["comparison"]["difference"] == pytest.approx(found["gap_b"] - found["gap_a"])
    assert found["comparison"]["low"] > 0  # local features recognise the tiny photos


def test_order_of_steps_is_that_of_the_command(finished: Tiny) -> None:
    there = compare_steps(finished.run, "knn", "final").comparison
    back = compare_steps(finished.run, "final", "knn").comparison
    assert back.difference == -there.difference
    assert back.became_wrong == there.became_right


@pytest.mark.parametrize("count", [0, 1, 3])
def test_two_are_compared(count: int, finished: Tiny) -> None:
    end = cairn("compare", *[finished.run] * count)
    assert end.status == (1 if count else 2)
    assert "runs" in end.err


def test_two_runs_have_no_steps(finished: Tiny) -> None:
    end = cairn("compare", finished.run, finished.run, "--steps", "knn", "final")
    assert "2 named; name two runs, or one run and two --steps of it" in end.err


def test_an_unknown_step_is_named(finished: Tiny) -> None:
    end = cairn("compare", finished.run, "--steps", "knn", "last")
    assert end.status == 1
    assert "no step 'last'; the steps are head_only, knn, reranked, final" in end.err


def test_a_file_needs_a_solution(finished: Tiny) -> None:
    end = cairn("compare", finished.run, finished.run / "submission.csv")
    assert "submission.csv is a file: name the --solution" in end.err


def test_other_queries_are_not_compared(tiny: Tiny, finished: Tiny) -> None:
    rows = [f"{query},0,Public" for query in QUERIES[:-1]] + [f"{QUERIES[-1]},,Ignored"]
    write_table(_solution(tiny), "id,landmarks,Usage", rows)
    tiny_run = _name_own_data(tiny)
    end = cairn("compare", finished.run, tiny_run)
    assert end.status == 1
    assert f"a is {finished.run}, b is {tiny_run}: 1 queries are in a, not in b: 'q7'" in end.err


def test_other_truths_are_not_compared(tiny: Tiny, finished: Tiny) -> None:
    text = _solution(tiny).read_text()
    _solution(tiny).write_text(text.replace("q0,0,", "q0,1,"))
    end = cairn("compare", finished.run, _name_own_data(tiny))
    assert "the truths of 1 queries differ: 'q0'; score both against one solution" in end.err


def _name_own_data(tiny: Tiny) -> Path:
    """Make a copied run know its copied dataset; return the run."""
    path = tiny.run / "run.json"
    write_signed({**read_signed(path), "data": str(tiny.data)}, path)
    return tiny.run


def test_a_solution_of_other_queries_names_both(finished: Tiny, solution: Path) -> None:
    end = cairn("compare", finished.run, finished.run, "--solution", solution)
    assert end.status == 1
    assert f"{finished.run}, scored with {solution}: the submission has 8 ids" in end.err


def test_what_is_no_run_is_named(finished: Tiny, tmp_path: Path) -> None:
    end = cairn("compare", finished.run, tmp_path / "absent")
    assert (end.status, f"no run in {tmp_path / 'absent'}" in end.err) == (1, True)
