"""Nothing that people look at fails a job: tables are whole, and the picture is made later."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import classify_head.plots
from pipelines.decorations import draw, draw_missing
from pipelines.reports import (
    answers_sheet,
    confusions,
    data_report_page,
    match_figures,
    problems_page,
    run_figures,
)
from pipelines.reports.page import run_report
from pipelines.sources import demo
from pipelines.stages import plots
from tests.conftest import Tiny
from tests.datasets import cairn, make_dataset, results

TABLES = {
    "submission.csv",
    "predictions.parquet",
    "neighbors.parquet",
    "verified.parquet",
    "evidence.parquet",
    "metrics.json",
}
# What each stage draws beside its artifacts, and the function that draws it.
OF_SUBMIT: dict[str, tuple[Any, str]] = {
    "answers.jpg": (answers_sheet, "draw_sheet"),
    "decision/reliability.png": (classify_head.plots, "plot_reliability"),
    "model/curves.png": (plots, "plot_history"),
}
OF_RUN: dict[str, tuple[Any, str]] = {
    "answers.jpg": (answers_sheet, "draw_sheet"),
    "report.html": (run_report, "collect_report"),
    "class_histogram.png": (run_figures, "draw_class_histogram"),
    "confusion_matrix.png": (confusions, "_draw"),
    "matches": (match_figures, "find_best_matches"),
}


def fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError("no\nroom")


def names(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*")}


def warning(name: str) -> str:
    return f"could not draw {Path(name).name}: ZeroDivisionError: no room; everything else is"


@pytest.mark.parametrize("name", OF_SUBMIT)
def test_a_picture_that_fails_is_a_warning_and_made_by_the_next_command(
    name: str,
    fresh: Tiny,
    finished: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*OF_SUBMIT[name], fail)
        end = fresh.submit()
    assert end.status == 0, end.err
    assert caplog.text.count(warning(name)) == 1
    assert "wrote " + str(fresh.run / "submission.csv") in end.out
    assert names(fresh.run) >= TABLES | (OF_SUBMIT.keys() - {name})
    assert name not in names(fresh.run)
    before = results(fresh.run)
    caplog.clear()
    end = fresh.submit()
    assert (end.status, caplog.text) == (0, "")
    assert name in names(fresh.run)
    assert {**results(fresh.run), name: ""} == {**before, name: ""}  # nothing else was made again
    assert results(fresh.run) == results(finished.run)


def test_all_pictures_of_a_run_may_fail(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny.run / "answers.jpg").unlink()
    with monkeypatch.context() as patch:
        for module, function in OF_RUN.values():
            patch.setattr(module, function, fail)
        end = cairn("run", *tiny.options)
    assert end.status == 0, end.err
    assert all(warning(name) in caplog.text for name in OF_RUN)
    assert names(tiny.run) >= TABLES | {"predictions.csv", "confusions.csv"}
    assert not names(tiny.run) & (OF_RUN.keys() - {"matches"})
    written = [line for line in end.out.splitlines() if line.startswith("wrote ")]
    made = ("submission.csv", "predictions.csv", "confusions.csv", "model/curves.png")
    assert written == [f"wrote {tiny.run / name}" for name in made]
    caplog.clear()
    end = cairn("run", *tiny.options)
    assert (end.status, caplog.text) == (0, "")
    assert names(tiny.run) >= OF_RUN.keys()
    assert "matches/good-1.jpg" in names(tiny.run)


def test_one_figure_of_matches_that_fails_leaves_the_others(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = match_figures.draw_match

    def fail_once(run: Any, album: Any, kind: Any, matched: Any) -> Image.Image:
        if kind == "good":
            fail()
        return real(run, album, kind, matched)

    assert cairn("run", *tiny.options).status == 0
    assert (tiny.run / "matches" / "good-1.jpg").is_file()
    monkeypatch.setattr(match_figures, "draw_match", fail_once)
    end = cairn("run", *tiny.options)
    assert end.status == 0
    assert warning("good-1.jpg") in caplog.text
    left = {path.name for path in (tiny.run / "matches").iterdir()}
    assert "good-1.jpg" not in left  # the old one would be of other answers
    assert "mismatch-1.jpg" in left


def test_another_submission_has_another_sheet(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny.data / "test.csv").write_text("id\nq3\nq1\n")
    (tiny.data / "solution.csv").unlink()
    monkeypatch.setattr(answers_sheet, "draw_sheet", fail)
    assert tiny.submit().status == 0
    assert not (tiny.run / "answers.jpg").exists()


def test_the_demo_city_needs_no_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def render(folder: Path, *_: object, **__: object) -> None:
        (folder / "train.csv").write_text("id,landmark_id\n")

    monkeypatch.setattr(demo, "render_city", render)
    monkeypatch.setattr(demo, "contact_sheet", fail)
    demo.render_demo(tmp_path)
    assert warning("contact_sheet.jpg") in caplog.text


def test_the_check_of_a_dataset_needs_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_dataset(tmp_path / "data", landmarks=2)
    with monkeypatch.context() as patch:
        patch.setattr(problems_page, "write_page", fail)
        end = cairn("data", "check", folder)
    assert end.status == 0
    assert warning("problems.html") in caplog.text
    assert end.out.splitlines()[-1] == f"wrote {folder / 'problems.csv'}"
    assert {"problems.csv", "groups.parquet"} <= names(folder)
    assert cairn("data", "check", folder).out.endswith("problems.csv and problems.html\n")


def test_the_report_on_a_dataset_is_printed_before_it_is_drawn(
    finished: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = ("data", "report", finished.data, "--no-plan", "--out", tmp_path)
    printed = cairn(*command).out
    with monkeypatch.context() as patch:
        patch.setattr(data_report_page, "draw_report", fail)
        end = cairn(*command)
        assert (end.status, end.out) == (0, printed)
        assert warning("data_report.png") in caplog.text
        assert "At a glance" not in (tmp_path / "data_report.html").read_text()
        patch.setattr(data_report_page, "make_page", fail)
        end = cairn(*command)
    assert (end.status, end.out) == (0, printed)
    assert warning("data_report.html") in caplog.text
    assert "wrote" not in end.err


def test_a_failure_takes_away_the_picture_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "old.png"
    path.touch()
    assert draw_missing(path, fail) == [path]  # it is there
    assert draw(path, fail) == []
    assert not path.exists()
    assert draw(path, lambda: None) == []  # there was nothing to show
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert draw(path, path.touch) == [path]


def test_whoever_looks_for_the_fault_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAIRN_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        draw(tmp_path / "a.png", fail)


def test_photos_of_mixed_sizes_are_submitted(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    """Of 720 pixels a tile was cut a rounding error too wide."""
    for place, size in enumerate([(720, 1280), (360, 640), (1440, 1080), (16, 900)]):
        with Image.open(tiny.data / "images" / f"q{place}.jpg") as photo:
            photo.resize(size).save(tiny.data / "images" / f"q{place}.jpg")
    (tiny.run / "answers.jpg").unlink()
    end = tiny.submit()
    assert (end.status, caplog.text) == (0, "")
    with Image.open(tiny.run / "answers.jpg") as sheet:
        assert np.asarray(sheet).std() > 30


def test_what_is_in_the_way_of_a_picture_is_a_warning(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny.run / "answers.jpg").unlink()
    (tiny.run / "answers.jpg").mkdir()
    end = tiny.submit()
    assert end.status == 0
    assert f"could not draw answers.jpg: {tiny.run / 'answers.jpg'} is a folder" in caplog.text
    assert "wrote" not in end.out or "answers.jpg" not in end.out
    (tiny.run / "answers.jpg").rmdir()
    assert tiny.submit().status == 0
    assert (tiny.run / "answers.jpg").is_file()
