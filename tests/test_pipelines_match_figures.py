"""Figures of matches: each kind has its own, the lines are those of the run, captions fit."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from classify_head.submission import load_solution
from pipelines.reports.match_figures import (
    CAPTION,
    MatchedPair,
    draw_match,
    find_best_matches,
    name_kind,
    pick_matches,
    write_match_figures,
)
from pipelines.reports.page.album import open_album
from pipelines.reports.page.answers import read_answers
from pipelines.runs.job import Job
from rerank.geometry import CHANCE_INLIERS
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, PHOTOS, QUERIES, accept_file, make_job, make_recipe_file

TORINO = """
[search]
neighbors = 3
[rerank]
of = "predicted-class"
matching = "aggregated"
candidates = 1000
max_distance = 0.8
[decide]
policy = "torino"
rejected = "empty"
"""


@pytest.fixture(scope="module")
def torino(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a run that verifies the predicted class, with the model of the finished one."""
    folder = tmp_path_factory.mktemp("torino")
    shutil.copytree(finished.run, folder / "run")
    recipe = make_recipe_file(folder / "torino.toml", TORINO)
    tiny = Tiny(finished.data, recipe, folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def job_of(tiny: Tiny) -> Job:
    return make_job(tiny.data, tiny.run, tiny.recipe)


def change_answers(run: Path, changes: dict[str, dict[str, Any]]) -> None:
    path = run / "predictions.parquet"
    table = pq.read_table(path)
    rows = [{**row, **changes.get(row["query_id"], {})} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    accept_file(path)


def test_every_kind_is_drawn(tiny: Tiny, tmp_path: Path) -> None:
    refused = {"landmark_id": None, "reason": "too few inliers", "final_label": 2}
    wrong = {"landmark_id": 1, "final_label": 1, "reason": ""}
    change_answers(tiny.run, {"q0": wrong, "q2": refused, "q6": refused})
    job = job_of(tiny)
    run = read_answers(job.run, load_solution(tiny.data / "solution.csv"))
    matches = {run.answers.query_ids[found.row]: found for found in find_best_matches(job, run)}
    kinds = {query_id: name_kind(run, found) for query_id, found in matches.items()}
    assert kinds["q0"] == "wrong-class"
    assert [kinds[query_id] for query_id in ("q2", "q6", "q7")] == ["mismatch"] * 3
    assert [kinds[query_id] for query_id in ("q1", "q3", "q4", "q5")] == ["good"] * 4
    picked = pick_matches(run, list(matches.values()))
    shown = [run.answers.query_ids[found.row] for found in picked["mismatch"]]
    assert set(shown[:-1]) <= {"q6", "q7"}  # photos without a landmark are first
    files = write_match_figures(job, tmp_path / "figures")
    names = [path.name for path in files]
    assert names[:4] == ["good-1.jpg", "good-2.jpg", "good-3.jpg", "wrong-class-1.jpg"]
    assert "mismatch-1.jpg" in names
    before = [path.read_bytes() for path in files]
    assert write_match_figures(job, tmp_path / "figures") == files
    assert [path.read_bytes() for path in files] == before


def test_figures_of_an_earlier_call_are_replaced_and_nothing_else(
    tiny: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "wrong-class-3.jpg").write_bytes(b"old")
    (tmp_path / "holiday-1.jpg").write_bytes(b"mine")
    files = write_match_figures(job_of(tiny), tmp_path)
    there = {path for path in tmp_path.glob("*.jpg") if path.name != "holiday-1.jpg"}
    assert there == set(files)
    assert (tmp_path / "holiday-1.jpg").read_bytes() == b"mine"


def test_the_best_match_has_the_most_inliers_of_the_guess(finished: Tiny) -> None:
    job = job_of(finished)
    run = read_answers(job.run, load_solution(finished.data / "solution.csv"))
    verified = pq.read_table(job.run / "verified.parquet").to_pylist()
    for found in find_best_matches(job, run):
        own = [
            row["inliers"]
            for row in verified
            if row["query_id"] == run.answers.query_ids[found.row]
            and row["image_id"].startswith(f"thing{run.answers.labels[found.row]}-")
        ]
        assert found.inliers == max(own)


def test_lines_are_those_that_the_run_counted(torino: Tiny) -> None:
    """Aggregated, what is found in an image depends on the others of its class."""
    job = job_of(torino)
    run = read_answers(job.run, load_solution(torino.data / "solution.csv"))
    matches = find_best_matches(job, run)
    assert matches
    album = open_album(job, run.answers.query_ids)
    for matched in matches:
        query_id = run.answers.query_ids[matched.row]
        near = album.find_best(query_id, matched.landmark_id)
        assert near is not None
        found = album.verify(query_id, near)
        assert found is not None
        assert found.n_inliers == near.inliers == matched.inliers


def test_the_predicted_class_is_what_a_run_verifies(torino: Tiny) -> None:
    verified = pq.read_table(torino.run / "verified.parquet").to_pylist()
    answers = pq.read_table(torino.run / "predictions.parquet").to_pylist()
    predicted = {row["query_id"]: row["head_only_label"] for row in answers}
    found = {(row["query_id"], row["image_id"]) for row in verified}
    assert found == {
        (query_id, f"thing{predicted[query_id]}-{number}")
        for query_id in QUERIES
        for number in range(PHOTOS)
    }
    neighbors = pq.read_table(torino.run / "neighbors.parquet").to_pylist()
    album = open_album(job_of(torino), QUERIES)
    for query_id in QUERIES:
        ranks = [near.rank for near in album.neighbors[query_id]]
        more = sum(row["query_id"] == query_id for row in neighbors) - 3
        assert ranks == [0, 1, 2, *[None] * more]  # those that were added have no true place


def test_a_run_that_verifies_the_predicted_class_has_figures(torino: Tiny, tmp_path: Path) -> None:
    assert write_match_figures(job_of(torino), tmp_path)


def test_an_answer_that_geometry_did_not_verify_is_no_good_match(finished: Tiny) -> None:
    run = read_answers(finished.run, load_solution(finished.data / "solution.csv"))
    row = run.answers.query_ids.index("q1")
    kinds = [
        name_kind(run, MatchedPair(row, "thing1-0", 1, CHANCE_INLIERS + more)) for more in (0, 1)
    ]
    assert kinds == ["mismatch", "good"]


def test_without_a_solution_refused_answers_are_mismatches(tiny: Tiny, tmp_path: Path) -> None:
    (tiny.data / "solution.csv").unlink()
    refused = {"landmark_id": None, "reason": "low"}
    change_answers(tiny.run, {query_id: refused for query_id in QUERIES[:LANDMARKS]})
    names = {path.name for path in write_match_figures(job_of(tiny), tmp_path)}
    assert {name[:-6] for name in names} <= {"good", "mismatch"}
    assert "mismatch-3.jpg" in names


def test_a_long_name_is_cut_to_the_width_of_the_photos(tiny: Tiny) -> None:
    names = "".join(f"{landmark},{'Long ' * 60}\n" for landmark in range(LANDMARKS))
    (tiny.data / "labels.csv").write_text(f"landmark_id,name\n{names}")
    job = job_of(tiny)
    run = read_answers(job.run, load_solution(tiny.data / "solution.csv"))
    album = open_album(job, ["q0"])
    near = album.neighbors["q0"][0]
    matched = MatchedPair(
        run.answers.query_ids.index("q0"), near.image_id, near.label, near.inliers or 0
    )
    picture = draw_match(run, album, "good", matched)
    pixels = np.asarray(picture)
    assert isinstance(picture, Image.Image)
    assert (pixels[-CAPTION:, -8:] == 255).all()  # the margin
    assert (pixels[-CAPTION:, :-8] < 128).any()  # the letters


def test_a_run_that_verified_nothing_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    verified = tiny.run / "verified.parquet"
    pq.write_table(pq.read_table(verified).slice(0, 0), verified)
    accept_file(verified)
    with pytest.raises(ValueError, match="no verified photos"):
        write_match_figures(job_of(tiny), tmp_path)
