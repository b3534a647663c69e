"""The report of a run: the right facts, escaped, in one file, whatever the run lacks."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classify_head.answers import Answers
from embed.failure import Failure
from embed.shards import write_failures
from index.rows import RowTable
from pipelines.reports.page.album import open_album
from pipelines.reports.page.answers import RunAnswers
from pipelines.reports.page.groups import pick_cases
from pipelines.reports.page.records import Case, Group, Report
from pipelines.reports.page.render import render
from pipelines.reports.page.run_report import collect_report, write_report
from pipelines.runs.job import Job
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    QUERIES,
    accept_file,
    cairn,
    make_job,
    make_recipe_file,
    write_table,
)

ATTACK = "<script>alert('x')</script>"


def change_rows(path: Path, key: str, changes: dict[str, dict[str, Any]]) -> None:
    """Change some values of a Parquet table, in the rows whose key column names them."""
    table = pq.read_table(path)
    rows = [{**row, **changes.get(row[key], {})} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    accept_file(path)


def answer(label: int, confidence: float) -> dict[str, Any]:
    """Return what predictions.parquet says of an answer that is given."""
    final = {"final_label": label, "final_confidence": confidence}
    return {"landmark_id": label, "confidence": confidence, "reason": "", **final}


# Of the six landmark queries q0 is wrong and surest; a distractor is sure, too.
WRONG = {"q0": answer(1, 0.999), "q6": answer(2, 0.998)}


@pytest.fixture
def wrong(tiny: Tiny) -> Tiny:
    """Return a run with a wrong answer and an answered distractor."""
    change_rows(tiny.run / "predictions.parquet", "query_id", WRONG)
    return tiny


def job_of(tiny: Tiny, changes: str = "") -> Job:
    if not changes:
        return make_job(tiny.data, tiny.run, tiny.recipe)
    return make_job(tiny.data, tiny.run, make_recipe_file(tiny.run / "changed.toml", changes))


def read_metrics(tiny: Tiny) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((tiny.run / "metrics.json").read_text())
    return metrics


def collect(tiny: Tiny, changes: str = "") -> Report:
    return collect_report(job_of(tiny, changes), read_metrics(tiny))


def group_named(report: Report, title: str) -> Group:
    return next(group for group in report.groups if group.title == title)


def worst(report: Report) -> Case:
    return group_named(report, "The costliest errors").cases[0]


def notes(report: Report) -> list[str]:
    """Return what is written below every picture of a pair."""
    cases = [case for group in report.groups for case in group.cases]
    return [f"{pair.title}; {pair.note}" for case in cases for pair in case.pairs]


def test_the_worst_error_is_first(wrong: Tiny) -> None:
    group = group_named(collect(wrong), "The costliest errors")
    assert [case.badge for case in group.cases[:2]] == ["wrong label", "distractor"]
    assert group.cases[0].title == "Thing 1, but it is Thing 0"
    assert group.cases[1].title == "Thing 2, but it shows nothing known"
    assert "photo q0" in group.cases[0].facts
    assert "confidence 0.999" in group.cases[0].facts
    titles = [pair.title for pair in group.cases[0].pairs]
    assert titles == ["Answered: Thing 1", "True: Thing 0"]
    assert [pair.title for pair in group.cases[1].pairs] == ["Answered: Thing 2"]
    # Five right answers stand below both.
    assert group.lead.startswith("7 errors (ranked too low 5, wrong label 1, distractor 1);")
    assert len(group.cases) == 7


def test_the_surest_right_answers_are_shown(finished: Tiny) -> None:
    report = collect(finished)
    cases = group_named(report, "The surest answers").cases
    assert sorted(case.title.split(",")[0] for case in cases) == [
        f"Thing {landmark}" for landmark in range(LANDMARKS)
    ]
    assert {case.badge for case in cases} == {"right"}
    for case in cases:
        *own, other = [picture.title for picture in case.neighbors]
        assert own == [case.title.split(",")[0]] * 2
        assert other.startswith("another: Thing ")


def test_the_figures_are_those_of_the_metrics(finished: Tiny) -> None:
    report, metrics = collect(finished), read_metrics(finished)
    tiles = {tile.name: tile.value for tile in report.tiles}
    assert tiles["GAP"] == f"{metrics['gap']:.4f}"
    point = metrics["operating_point"]
    assert tiles["coverage"] == f"{100 * point['coverage']:.1f} %"
    assert tiles["precision"] == f"{100 * point['precision']:.1f} %"
    error = metrics["expected_calibration_error"]
    assert tiles["calibration error"] == f"{error:.3f}"
    assert report.scores is not None
    steps = [(bar.value, bar.share) for bar in report.scores.steps]
    gaps = [figures["gap"] for figures in metrics["steps"].values()]
    assert steps == [(f"{gap:.4f}", gap) for gap in gaps]
    assert [chart.alt.split(" ")[0] for chart in report.charts] == ["reliability", "risk-coverage"]
    assert len(report.curves) == 1


def test_inliers_are_those_of_the_submission(finished: Tiny) -> None:
    verified = pq.read_table(finished.run / "verified.parquet").to_pylist()
    neighbors = pq.read_table(finished.run / "neighbors.parquet").to_pylist()
    labels = {(row["query_id"], row["image_id"]): row["landmark_id"] for row in neighbors}
    most: dict[tuple[str, str], int] = {}
    for row in verified:
        place = row["query_id"], f"Thing {labels[row['query_id'], row['image_id']]}"
        most[place] = max(most.get(place, 0), row["inliers"])
    for case in group_named(collect(finished), "The surest answers").cases:
        query = next(fact for fact in case.facts if fact.startswith("photo ")).split(" ")[1]
        name = case.title.split(",")[0]
        assert f"{most[query, name]} inliers" in case.pairs[0].note


def test_names_and_ids_are_escaped(wrong: Tiny, tmp_path: Path) -> None:
    names = [f'{n},"{n}{ATTACK}"' for n in range(LANDMARKS)]
    write_table(wrong.data / "labels.csv", "landmark_id,name", names)
    images = RowTable.load(wrong.run / "index" / "rows.arrow").list_ids()
    for table in ("neighbors", "verified"):
        changes = {image_id: {"image_id": f'"><b>{image_id}'} for image_id in images}
        change_rows(wrong.run / f"{table}.parquet", "image_id", changes)
    moved = wrong.run.rename(tmp_path / "<i>run")
    html = render("report", collect(Tiny(wrong.data, wrong.recipe, moved)))
    for part in ("<script", "<b>", "<i>", '""'):
        assert part not in html
    assert "0&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert "&lt;i&gt;run" in html


def test_one_file_is_enough(wrong: Tiny) -> None:
    html = write_report(job_of(wrong), read_metrics(wrong)).read_text(encoding="utf-8")
    assert "http:" not in html
    assert "https:" not in html
    sources = re.findall(r'(?:src|href|srcset)="([^"]*)"', html)
    assert len(sources) > 20
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|<link|<script|<iframe", html)
    assert all('alt="' in tag for tag in re.findall(r"<img[^>]*>", html))
    assert 'alt=""' not in html


def test_a_missing_photo_leaves_a_placeholder(wrong: Tiny) -> None:
    whole = worst(collect(wrong)).pairs
    (wrong.data / "images" / "q0.jpg").unlink()
    for path in (wrong.data / "images").glob("thing0*.jpg"):
        path.write_bytes(b"no image")
    report = collect(wrong)
    pairs = worst(report).pairs
    assert [pair.note for pair in pairs] == [pair.note for pair in whole]  # the features are there
    assert all(pair.uri != before.uri for pair, before in zip(pairs, whole, strict=True))
    assert "The surest answers" in render("report", report)


def test_without_a_solution_doubtful_answers_are_shown(tiny: Tiny) -> None:
    refused = {**answer(3, 0.4), "landmark_id": None, "reason": "confidence 0.4 is low"}
    changes = {"q1": answer(1, 0.51), "q2": answer(2, 0.99), "q3": refused}
    change_rows(tiny.run / "predictions.parquet", "query_id", changes)
    (tiny.data / "solution.csv").unlink()
    report = collect_report(job_of(tiny), None)
    assert report.scores is None
    assert not {"GAP", "top-1"} & {tile.name for tile in report.tiles}
    doubtful = group_named(report, "In doubt").cases
    assert doubtful[0].title == "Thing 1"  # the least sure of those given
    refusals = [case for case in doubtful if case.badge == "refused"]
    assert refusals[0].title == "Thing 3, refused"
    assert "refused: confidence 0.4 is low" in refusals[0].facts
    assert group_named(report, "The surest answers").cases
    assert "What is missing to 1" not in render("report", report)


def test_without_local_features_photos_have_no_lines(wrong: Tiny) -> None:
    verified = wrong.run / "verified.parquet"
    pq.write_table(pq.read_table(verified).slice(0, 0), verified)
    accept_file(verified)
    shutil.rmtree(wrong.run / "features")
    report = collect(wrong, "[rerank]\nmethod = 'none'\n")
    assert notes(report)
    assert not any("inlier" in note for note in notes(report))
    assert not any("lines" in pair.alt for pair in worst(report).pairs)
    assert ("local features", "none") in report.facts


def test_a_run_of_before_column_types_were_named_is_shown(wrong: Tiny) -> None:
    pairs = {"query_id": pa.array([]), "rank": [], "inliers": []}
    pq.write_table(pa.table(pairs), wrong.run / "verified.parquet")
    accept_file(wrong.run / "verified.parquet")
    assert notes(collect(wrong))


def test_an_album_may_be_asked_for_nothing(wrong: Tiny) -> None:
    assert open_album(job_of(wrong), []).neighbors == {}


def test_a_true_landmark_that_the_database_lacks_is_named(wrong: Tiny) -> None:
    rows = [f"{query},{77 if query == 'q0' else place}" for place, query in enumerate(QUERIES)]
    write_table(wrong.data / "solution.csv", "id,landmarks", rows)
    pair = worst(collect(wrong)).pairs[1]
    assert pair.title == "True: landmark 77, of which the database has no photo"
    assert "no photo beside it" in pair.alt


def test_a_true_landmark_that_no_neighbour_shows_is_found(wrong: Tiny) -> None:
    path = wrong.run / "neighbors.parquet"
    table = pq.read_table(path)
    kept = [(row["query_id"], row["landmark_id"]) != ("q0", 0) for row in table.to_pylist()]
    near = worst(collect(wrong)).pairs[1].note
    pq.write_table(table.filter(pa.array(kept)), path)
    accept_file(path)
    far = worst(collect(wrong)).pairs[1].note
    assert far.startswith("not among the 20 nearest · similarity ")
    assert re.search(r"\d+ inliers$", far)
    assert near != far


def test_of_several_true_landmarks_the_likeliest_is_shown(wrong: Tiny) -> None:
    rows = [f"{query},{'77 0' if query == 'q0' else place}" for place, query in enumerate(QUERIES)]
    write_table(wrong.data / "solution.csv", "id,landmarks", rows)
    case = worst(collect(wrong))
    assert case.title == "Thing 1, but it is Thing 0 and landmark 77"
    assert case.pairs[1].title == "True: Thing 0"


def test_photos_that_could_not_be_read_are_listed_and_cost_gap(tiny: Tiny) -> None:
    nothing = {"final_label": -1, "final_confidence": 0.0, "landmark_id": None}
    changes = {"q0": {**nothing, "reason": "q0.jpg: is empty"}}
    change_rows(tiny.run / "predictions.parquet", "query_id", changes)
    failures = [Failure(0, "empty", "q0.jpg: is empty")]
    path = tiny.run / "embeddings" / "test" / "failures.parquet"
    write_failures(path, ["q0"], failures)
    accept_file(path)
    report = collect(tiny)
    assert report.failures == (("q0", "empty"),)
    assert worst(report).title == "No answer; it is Thing 0"
    assert "refused: q0.jpg: is empty" in worst(report).facts
    assert [pair.title for pair in worst(report).pairs] == ["True: Thing 0"]
    assert "1 without an answer" in render("report", report)


def test_without_errors_there_is_no_heading_for_them(tiny: Tiny) -> None:
    changes = {query: answer(place, 0.9) for place, query in enumerate(QUERIES[:LANDMARKS])}
    changes |= {query: answer(0, 0.1) for query in QUERIES[LANDMARKS:]}
    change_rows(tiny.run / "predictions.parquet", "query_id", changes)
    assert [group.title for group in collect(tiny).groups] == ["The surest answers"]


def test_confidences_that_are_no_probabilities_have_no_reliability_plot(tiny: Tiny) -> None:
    change_rows(tiny.run / "predictions.parquet", "query_id", {"q0": answer(0, 3.5)})
    report = collect(tiny)
    assert len(report.charts) == 1
    assert "calibration error" not in {tile.name for tile in report.tiles}


def test_the_same_run_gives_the_same_bytes_anywhere(wrong: Tiny, tmp_path: Path) -> None:
    first = write_report(job_of(wrong), read_metrics(wrong)).read_bytes()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(wrong.data, elsewhere / wrong.data.name)
    shutil.copytree(wrong.run, elsewhere / wrong.run.name)
    recipe = Path(shutil.copy(wrong.recipe, elsewhere / wrong.recipe.name))
    copy = Tiny(elsewhere / wrong.data.name, recipe, elsewhere / wrong.run.name)
    assert write_report(job_of(copy), read_metrics(copy)).read_bytes() == first


def test_the_command_writes_the_report(tiny: Tiny) -> None:
    end = cairn("report", tiny.run)
    assert (end.status, end.err) == (0, "")
    assert end.out == f"wrote {tiny.run / 'report.html'}\n"
    assert (tiny.run / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_run_without_submission_says_what_to_do(tiny: Tiny) -> None:
    shutil.rmtree(tiny.run / "submit")
    end = cairn("report", tiny.run)
    assert end.status == 1
    assert f"run `cairn submit --run {tiny.run}`" in end.err


def test_a_solution_of_other_photos_says_what_to_do(tiny: Tiny) -> None:
    write_table(tiny.data / "solution.csv", "id,landmarks", ["other,1"])
    with pytest.raises(ValueError, match=r"no answer to 1 of the 1 photos that .* 'other'; run"):
        collect(tiny)


def test_right_answers_that_are_hardly_sure_are_shown_apart() -> None:
    """Ten right answers to one landmark: the surest, the six least sure, but for one refused."""
    rows = [(f"q{place}", 1, 0.9 - place / 20, [1]) for place in range(10)]
    given = np.array([place != 9 for place in range(10)])
    answers = Answers.from_rows(rows)
    run = RunAnswers(answers, answers.labels, given, ("",) * 10, (), has_solution=True)
    picked = pick_cases(run)
    assert picked.errors == ()
    assert [run.answers.query_ids[row] for row in picked.barely] == [
        f"q{n}" for n in range(8, 2, -1)
    ]
    assert [run.answers.query_ids[row] for row in picked.surest] == ["q0"]
    assert picked.rows == [*picked.barely, *picked.surest]
