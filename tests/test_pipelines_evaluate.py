"""Scoring files and runs: the figures of classify_head.gap, and advice for bad files."""

import json
from pathlib import Path

import pytest

from classify_head.gap import Answers, gap, summary
from tests.conftest import Tiny
from tests.datasets import QUERIES, cairn, write_table

# id, answer, truth: a right one, a wrong one, none given, a distractor that is answered.
ROWS = [("a", 1, 0.9, {1}), ("b", 2, 0.8, {3, 4}), ("c", -1, 0.0, {5}), ("d", 1, 0.85, set[int]())]


def write_files(folder: Path) -> list[str | Path]:
    """Write ROWS as submission and solution; return the options that name them."""
    answers = [f"{i},{label} {score}" if label >= 0 else f"{i}," for i, label, score, _ in ROWS]
    truths = [f"{i},{' '.join(map(str, sorted(truth)))},Public" for i, _, _, truth in ROWS]
    write_table(folder / "sub.csv", "id,landmarks", answers)
    write_table(folder / "sol.csv", "id,landmarks,Usage", truths)
    return ["--submission", folder / "sub.csv", "--solution", folder / "sol.csv"]


def test_figures_are_those_of_the_metric(tmp_path: Path) -> None:
    end = cairn("evaluate", *write_files(tmp_path), "--json")
    assert (end.status, end.err) == (0, "")
    answers = Answers.from_rows(ROWS)
    assert json.loads(end.out) == json.loads(json.dumps(summary(answers)))
    # Ranked a (right), d (wrong), b (wrong); three queries show a landmark: GAP = 1 / 3.
    assert json.loads(end.out)["gap"] == gap(answers) == pytest.approx(1 / 3)


def test_a_table_for_people(tmp_path: Path) -> None:
    end = cairn("evaluate", *write_files(tmp_path))
    assert end.status == 0
    assert "GAP, with distractors" in end.out
    assert "0.3333" in end.out


def test_ignored_queries_are_not_scored(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    text = (tmp_path / "sol.csv").read_text().replace("d,,Public", "d,,Ignored")
    (tmp_path / "sol.csv").write_text(text)
    metrics = json.loads(cairn("evaluate", *files, "--json").out)
    assert metrics["n_queries"] == 3


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("sub.csv", "id,landmarks\na,1 0.5\n", "lacks 3 ids ('b', 'c', 'd')"),
        ("sub.csv", "id,landmarks\na,1 high\nb,\nc,\nd,\n", "1 high"),
        ("sub.csv", "id,answer\na,1 0.5\n", "landmarks"),
        ("sub.csv", "", "sub.csv"),  # the file's name
        ("sub.csv", None, "sub.csv"),
        ("sol.csv", None, "sol.csv"),
        ("sol.csv", "id,landmarks\na,tower\n", "tower"),
    ],
)
def test_bad_files_are_one_line_on_standard_error(
    file: str, content: str | None, message: str, tmp_path: Path
) -> None:
    files = write_files(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    end = cairn("evaluate", *files, "--json")
    assert (end.status, end.out) == (1, "")
    assert end.err.startswith("error: ")
    assert end.err.count("\n") == 1
    assert message in end.err


@pytest.mark.parametrize("one", [0, 2])
def test_submission_and_solution_go_together(one: int, tmp_path: Path) -> None:
    end = cairn("evaluate", *write_files(tmp_path)[one : one + 2])
    assert end.status == 1
    assert "--submission and --solution go together" in end.err


def test_a_run_has_the_figures_of_its_files(finished: Tiny, tiny: Tiny) -> None:
    assert tiny.submit().status == 0
    end = cairn("evaluate", "--run", tiny.run, "--json")
    assert end.status == 0, end.err
    metrics = json.loads(end.out)
    files = ["--submission", tiny.run / "submission.csv", "--solution", tiny.data / "solution.csv"]
    alone = json.loads(cairn("evaluate", *files, "--json").out)
    assert alone == {name: metrics[name] for name in alone}
    assert json.loads((tiny.run / "metrics.json").read_text()) == metrics
    first = json.loads((finished.run / "metrics.json").read_text())
    assert {**metrics, "seconds": {}} == {**first, "seconds": {}}


def test_untrained_landmarks_have_figures_of_their_own(tiny: Tiny) -> None:
    assert tiny.submit().status == 0
    rows = [f"{query},{place + 90}," for place, query in enumerate(QUERIES[:2])]
    rows += [f"{query},," for query in QUERIES[2:]]
    write_table(tiny.data / "solution.csv", "id,landmarks,Usage", [f"{r}Public" for r in rows])
    metrics = json.loads(cairn("evaluate", "--run", tiny.run, "--json").out)
    assert metrics["unseen"]["n_landmark"] == 2
    assert metrics["unseen"]["n_queries"] == len(QUERIES)
    assert metrics["unseen"]["final"] == metrics["gap"] == 0
    assert "GAP, untrained" in " ".join(cairn("evaluate", "--run", tiny.run).out.split())


def test_all_landmarks_trained_is_no_such_block(finished: Tiny) -> None:
    assert json.loads((finished.run / "metrics.json").read_text())["unseen"] is None


def test_what_is_not_there_says_what_to_do(tiny: Tiny) -> None:
    assert tiny.submit().status == 0
    (tiny.run / "submission.csv").unlink()
    assert "run `cairn submit --run" in cairn("evaluate", "--run", tiny.run).err
    (tiny.data / "solution.csv").unlink()
    end = cairn("evaluate", "--run", tiny.run)
    assert end.status == 1
    assert "has no solution.csv (columns id,landmarks)" in end.err


def test_an_absent_run_says_how_to_make_one(tmp_path: Path) -> None:
    end = cairn("evaluate", "--run", tmp_path / "absent")
    assert end.status == 1
    assert str(tmp_path / "absent") in end.err
    assert not (tmp_path / "absent").exists()
