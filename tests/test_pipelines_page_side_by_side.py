"""Two runs side by side: every photo in its group, and the answers of both beside it."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classify_head.answers import Answers
from pipelines.reports.page.answers import RunAnswers
from pipelines.reports.page.side_by_side import (
    collect_side_by_side,
    find_correct,
    name_runs,
    pick_sample,
    split_rows,
    write_side_by_side,
)
from pipelines.runs.job import Job
from tests.conftest import Tiny
from tests.datasets import accept_file, cairn, make_job

# Of a run that answers all six landmarks rightly and refuses q6 and q7.
CHANGES: dict[str, dict[str, Any]] = {
    "q0": {"landmark_id": 1, "final_label": 1, "final_confidence": 0.9},  # wrong
    "q1": {"landmark_id": None, "final_confidence": 0.1, "reason": "not <sure>"},  # refused
    "q6": {"landmark_id": 2, "final_label": 2, "final_confidence": 0.8},  # an answered distractor
}


@pytest.fixture
def other(finished: Tiny, tmp_path: Path) -> Path:
    """Return a run that differs from the finished one in three answers."""
    run = Path(shutil.copytree(finished.run, tmp_path / "other"))
    path = run / "predictions.parquet"
    table = pq.read_table(path)
    rows = [{**row, **CHANGES.get(row["query_id"], {})} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    accept_file(path)
    return run


def job(tiny: Tiny, run: Path) -> Job:
    return make_job(tiny.data, run, tiny.recipe)


def make_run(rows: list[tuple[str, int, float, list[int]]], given: list[bool]) -> RunAnswers:
    reasons = tuple("" if kept else "unsure" for kept in given)
    answers = Answers.from_rows(rows)
    return RunAnswers(answers, answers.labels, np.array(given), reasons, (), True)


def test_photos_are_grouped_by_who_is_right(finished: Tiny, other: Path) -> None:
    page = collect_side_by_side(job(finished, finished.run), job(finished, other))
    assert [tile.value for tile in page.tiles] == ["3", "0", "0", "5"]
    assert [group.title for group in page.groups] == ["Only run is right", "Both right"]
    lost = {case.facts[0]: case for case in page.groups[0].cases}
    assert set(lost) == {"photo q0", "photo q1", "photo q6"}
    wrong = lost["photo q0"]
    assert (wrong.title, wrong.badge, wrong.tone) == ("Thing 0", "only run", "warn")
    assert wrong.pairs[0].title.startswith("run, right: Thing 0, confidence ")
    assert wrong.pairs[1].title == "other, wrong: Thing 1, confidence 0.900"
    refused = lost["photo q1"]
    assert "other refused: not <sure>" in refused.facts
    assert refused.pairs[1].title.startswith("other, wrong: refused, it would be Thing 1, conf")
    assert lost["photo q6"].title == "Shows nothing known"


def test_the_other_way_round_the_groups_change_places(finished: Tiny, other: Path) -> None:
    page = collect_side_by_side(job(finished, other), job(finished, finished.run))
    assert [tile.value for tile in page.tiles] == ["0", "3", "0", "5"]
    assert page.groups[0].title == "Only run is right"


def test_the_command_writes_the_page_beside_its_figures(
    finished: Tiny, other: Path, tmp_path: Path
) -> None:
    page = tmp_path / "pages" / "both.html"
    end = cairn("compare", finished.run, other, "--html", page)
    assert end.status == 0
    assert f"wrote {page}" in end.err
    html = page.read_text(encoding="utf-8")
    assert "not &lt;sure&gt;" in html
    assert html.count("<article") == 8
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]*)"', html))


def test_a_page_needs_two_run_folders(finished: Tiny, tmp_path: Path) -> None:
    page, submission = tmp_path / "x.html", finished.run / "submission.csv"
    for named in ((finished.run, submission), (finished.run, "--steps", "knn", "final")):
        end = cairn("compare", *named, "--html", page)
        assert end.status == 1
        assert "name two run folders" in end.err
    assert not page.exists()


def test_two_pages_of_the_same_runs_are_equal(finished: Tiny, other: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for page in pages:
        write_side_by_side(job(finished, finished.run), job(finished, other), page)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_an_unfinished_run_is_refused(finished: Tiny, fresh: Tiny) -> None:
    with pytest.raises(FileNotFoundError, match="no finished submission"):
        collect_side_by_side(job(finished, finished.run), job(finished, fresh.run))


def test_right_is_what_a_user_is_told() -> None:
    rows = [
        ("a", 1, 0.9, [1, 2]),  # right
        ("b", 1, 0.9, [1]),  # right, but refused
        ("c", 3, 0.9, [1]),
        ("d", 3, 0.2, []),  # rightly refused
        ("e", 3, 0.9, []),
        ("f", -1, 0.0, [1]),
    ]
    run = make_run(rows, [True, False, True, False, True, False])
    assert find_correct(run).tolist() == [True, False, False, True, False, False]


def test_every_photo_is_in_one_group() -> None:
    a, b = np.random.default_rng(0).random((2, 50)) < 0.5
    rows = split_rows(a, b)
    assert sorted(np.concatenate(rows).tolist()) == list(range(50))
    assert [len(part) for part in split_rows(a[:0], b[:0])] == [0, 0, 0, 0]


def test_a_sample_goes_from_the_surest_to_the_least_sure_of_both() -> None:
    sure = [0.9, 0.1, 0.5, 0.7, 0.3]
    # The same order on another scale, and no answer at all to the least sure.
    other = [5.0, 0.0, 3.0, 4.0, 2.0]
    runs = [
        make_run([(f"q{n}", 7, s, [7]) for n, s in enumerate(sure)], [True] * 5),
        make_run([(f"q{n}", 7 if s else -1, s, [7]) for n, s in enumerate(other)], [True] * 5),
    ]
    members = np.arange(5)
    assert pick_sample(runs, members) == [0, 3, 2, 4, 1]
    assert pick_sample(runs, members, 3) == [0, 2, 1]
    assert pick_sample(runs, np.array([4, 2]), 8) == [2, 4]
    assert pick_sample(runs, members[:0]) == []


def test_runs_of_the_same_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    assert name_runs(tmp_path / "a", tmp_path / "b") == ("a", "b")
    a, b = tmp_path / "x" / "run", tmp_path / "y" / "run"
    assert name_runs(a, b) == (str(a.resolve()), str(b.resolve()))
