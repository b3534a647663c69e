"""Scoring files and runs: figures that explain the score, near-duplicates, advice for bad files."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classify_head.answers import Answers
from classify_head.gap import gap, summary
from classify_head.promise import describe
from classify_head.submission import load_solution
from index.rows import RowTable
from pipelines.answers.decision import load_promises
from pipelines.artifacts import load_manifest
from pipelines.scores.evaluate import read_ranked
from pipelines.scores.near_duplicates import find_near_duplicates, write_near_duplicates
from tests.conftest import Tiny
from tests.datasets import QUERIES, accept_changes, cairn, write_table

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
    answers, metrics = Answers.from_rows(ROWS), json.loads(end.out)
    figures = json.loads(json.dumps(summary(answers)))
    assert {name: metrics[name] for name in figures} == figures
    # Ranked a (right), d (wrong), b (wrong); three queries show a landmark: GAP = 1 / 3.
    assert metrics["gap"] == gap(answers) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "text",
    [
        "id,landmarks\na,1 0.9 \nb, 2 0.8\nc,  \nd,1 0.85\n",
        "Id,Landmarks\na,1 0.9\nb,2 0.8\nc,\nd,1 0.85\n",
        ",id,landmarks,note\n0,a,1 0.9,\n1,b,2 0.8,x\n2,c,,\n3,d,1 0.85,\n",
        "id;landmarks\na;1 0.9\nb;2 0.8\nc;\nd;1 0.85\n",
    ],
)
def test_a_submission_as_the_site_takes_it_has_the_same_gap(text: str, tmp_path: Path) -> None:
    files = write_files(tmp_path)
    expected = json.loads(cairn("evaluate", *files, "--json").out)
    (tmp_path / "sub.csv").write_text(text)
    assert json.loads(cairn("evaluate", *files, "--json").out) == expected


def test_confidences_are_measured_over_all_answers(tmp_path: Path) -> None:
    metrics = json.loads(cairn("evaluate", *write_files(tmp_path), "--json").out)
    # Of a, d and b, each alone in its bin, only a is right; d shows no landmark, so it never is.
    assert metrics["expected_calibration_error"] == pytest.approx((0.1 + 0.85 + 0.8) / 3)
    assert metrics["maximum_calibration_error"] == pytest.approx(0.85)
    assert metrics["brier_score"] == pytest.approx((0.1**2 + 0.85**2 + 0.8**2) / 3)
    assert metrics["calibration_note"] == ""
    # Risks of the first 1, 2, 3 and 4 queries; c has no answer. No order would be better.
    assert metrics["risk_coverage_area"] == pytest.approx((0 + 1 / 2 + 2 / 3 + 3 / 4) / 4)
    assert metrics["excess_risk_coverage_area"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("0.9", "12", "confidences lie between 0.8 and 12: no probabilities"),
        ("1 0.9", "1 -0.5", "confidences lie between -0.5 and 0.85: no probabilities"),
        (None, None, "no query is answered"),
    ],
)
def test_confidences_that_are_no_probabilities_are_not_calibrated(
    old: str | None, new: str | None, note: str, tmp_path: Path
) -> None:
    files = write_files(tmp_path)
    text = (tmp_path / "sub.csv").read_text()
    text = text.replace(old, new) if old and new else "id,landmarks\na,\nb,\nc,\nd,\n"
    (tmp_path / "sub.csv").write_text(text)
    metrics = json.loads(cairn("evaluate", *files, "--json").out)
    assert metrics["calibration_note"] == note
    assert metrics["expected_calibration_error"] is None
    assert metrics["brier_score"] is None
    assert 0 < metrics["risk_coverage_area"] <= 1
    assert f"not measured: {note}" in cairn("evaluate", *files).out


def test_a_table_for_people(tmp_path: Path) -> None:
    end = cairn("evaluate", *write_files(tmp_path))
    assert end.status == 0
    assert "GAP, with distractors" in end.out
    assert "0.3333" in end.out
    titles = [line for line in end.out.splitlines() if line and not line.startswith(" ")]
    assert titles == ["score", "why: where the missing 0.6667 of GAP went", "confidences"]


def test_tables_are_not_wrapped_in_a_pipe(finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = cairn("evaluate", "--run", finished.run).out.splitlines()
    assert not [line for line in lines if "…" in line]
    steps = next(row for row, line in enumerate(lines) if line.startswith("step"))
    assert lines[steps].split()[:2] == ["step", "GAP"]
    assert [line.split("  ")[0] for line in lines[steps + 1 : steps + 5]] == [
        "classification head alone",
        "k nearest neighbours",
        "+ re-ranking",
        "final",
    ]


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
    assert "untrained: GAP without the 0 queries" in cairn("evaluate", "--run", tiny.run).out


def test_all_landmarks_trained_is_no_such_block(finished: Tiny) -> None:
    assert json.loads((finished.run / "metrics.json").read_text())["unseen"] is None


def edit(run: Path, name: str, **columns: Any) -> None:
    """Replace columns of a Parquet file that stage submit wrote."""
    path = run / name
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)
    accept_changes(run / "submit")


def load_metrics(tiny: Tiny) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        cairn("evaluate", "--run", tiny.run, "--data", tiny.data, "--json").out
    )
    return values


def test_answers_given_are_those_that_are_not_no_known_landmark(tiny: Tiny) -> None:
    # The right ones of q0 and q1, a wrong one of q2, one to the distractor q7.
    labels = [0, 1, 0, None, None, None, None, 3]
    edit(tiny.run, "predictions.parquet", landmark_id=labels)
    point = load_metrics(tiny)["operating_point"]
    assert (point["answered"], point["answered_distractors"]) == (4, 1)
    assert (point["coverage"], point["precision"]) == (4 / 8, 2 / 4)
    # Clopper and Pearson: scipy.stats.beta.ppf(0.05, 2, 3)
    assert point["precision_low"] == pytest.approx(0.09761146288641434)
    decided = json.loads((tiny.run / "decision" / "decision.json").read_text())
    assert point["threshold"] == decided["threshold"]
    assert point["promised_precision"] == decided["precision"]
    assert (point["promised_share"], point["test_share"]) == (0.5, 2 / 8)
    for kind, promise in load_promises(tiny.run).items():
        promised = point["promises"][kind]
        assert promised["precision"] == decided["promise"][kind]["precision"]
        assert promised["at_test_share"] == describe(promise, 2 / 8)
    out = cairn("evaluate", "--run", tiny.run).out
    assert ("promised for landmarks not in the database" in out) == bool(decided["precision"])
    assert point["note"] == decided["note"]


def test_no_answer_given_has_no_precision(tiny: Tiny) -> None:
    edit(tiny.run, "predictions.parquet", landmark_id=[None] * len(QUERIES))
    point = load_metrics(tiny)["operating_point"]
    assert (point["answered"], point["coverage"], point["precision"]) == (0, 0, None)
    assert "distractors that got an answer  0 of 2" in cairn("evaluate", "--run", tiny.run).out


@pytest.mark.parametrize("decide", [{"min_precision": 0.9}, {"policy": "torino"}])
def test_a_threshold_that_did_not_make_the_answers_is_not_told(
    decide: dict[str, Any], tiny: Tiny
) -> None:
    """Another decision was made since, or the policy rejects by its own rule."""
    stages = ["decision"] if "min_precision" in decide else ["decision", "submit"]
    for stage in stages:
        manifest = load_manifest(tiny.run / stage)
        assert manifest is not None
        settings = {"decide": {**manifest.settings["decide"], **decide}}
        accept_changes(tiny.run / stage, settings={**manifest.settings, **settings})
    point = load_metrics(tiny)["operating_point"]
    assert (point["threshold"], point["promised_precision"]) == (None, None)
    assert (point["promises"], point["promised_share"]) == ({}, None)
    assert point["answered"] > 0


def write_pairs(run: Path, overlaps: list[float], similarities: list[float]) -> tuple[Path, Path]:
    """Write the neighbours n0, n1 and so on of query q0, the first of which were verified."""
    run.mkdir(exist_ok=True)
    ids = [f"n{rank}" for rank in range(len(similarities))]
    table = {
        "query_id": ["q0"] * len(ids),
        "rank": np.arange(len(ids)),
        "image_id": ids,
        "landmark_id": np.zeros(len(ids), dtype=np.int64),
        "score": np.array(similarities, dtype=np.float32),
    }
    pq.write_table(pa.table(table), run / "neighbors.parquet")
    verified = pa.table({name: table[name] for name in ("query_id", "rank", "image_id")})
    verified = verified.slice(0, len(overlaps))
    overlap = pa.array(np.array(overlaps, dtype=np.float32))
    pq.write_table(verified.append_column("overlaps", overlap), run / "verified.parquet")
    return run / "verified.parquet", run / "neighbors.parquet"


def test_near_duplicates_overlap(tmp_path: Path) -> None:
    pairs, criterion = find_near_duplicates(
        *write_pairs(tmp_path / "run", [0.49, 0.5, 0.9], [0.999, 0.25, 0.5, 1.0])
    )
    assert criterion == "overlap >= 0.5"
    assert [(pair.image_id, pair.similarity) for pair in pairs] == [("n1", 0.25), ("n2", 0.5)]
    write_near_duplicates(pairs, tmp_path / "found.csv")
    assert (tmp_path / "found.csv").read_text().splitlines() == [
        "query_id,image_id,overlap,similarity",
        "q0,n1,0.500,0.2500",
        "q0,n2,0.900,0.5000",
    ]


def test_near_duplicates_without_local_features_are_alike(tmp_path: Path) -> None:
    pairs, criterion = find_near_duplicates(*write_pairs(tmp_path / "run", [], [1.0, 0.996, 0.994]))
    assert criterion == "similarity >= 0.995"
    write_near_duplicates(pairs, tmp_path / "found.csv")
    lines = (tmp_path / "found.csv").read_text().splitlines()[1:]
    assert lines == ["q0,n0,,1.0000", "q0,n1,,0.9960"]


def test_the_list_goes_when_there_is_nothing_to_list(tmp_path: Path) -> None:
    pairs, _ = find_near_duplicates(*write_pairs(tmp_path / "run", [0.1, 0.2], [0.9, 0.8]))
    path = tmp_path / "found.csv"
    path.write_text("of a run before")
    write_near_duplicates(pairs, path)
    assert not path.exists()


def test_gap_is_told_without_near_duplicates(tiny: Tiny) -> None:
    ids = pq.read_table(tiny.run / "verified.parquet")["query_id"].to_pylist()
    edit(tiny.run, "verified.parquet", overlaps=[0.6 * (name == "q0") for name in ids])
    text = (tiny.data / "solution.csv").read_text()
    (tiny.data / "solution.csv").write_text(text.replace("q0,0,", "q0,5,"))
    metrics = load_metrics(tiny)
    # q0 alone is answered wrongly, and the distractors have no high confidence.
    assert metrics["gap"] < 1
    assert metrics["near_duplicates"] == {
        "queries": 1,
        "criterion": "overlap >= 0.5",
        "gap_without": 1.0,
    }
    out = cairn("evaluate", "--run", tiny.run, "--data", tiny.data).out
    assert "1 query (overlap >= 0.5), listed in near_duplicates.csv" in out
    assert (tiny.run / "near_duplicates.csv").read_text().count("\nq0,") > 1


def test_no_landmark_may_be_left_without_near_duplicates(finished: Tiny) -> None:
    """The tiny photos are views of flat textures, which overlap like copies."""
    found = json.loads((finished.run / "metrics.json").read_text())["near_duplicates"]
    assert found["queries"] == 6
    assert found["gap_without"] is None
    assert (finished.run / "near_duplicates.csv").is_file()


def test_what_is_not_there_says_what_to_do(tiny: Tiny) -> None:
    assert tiny.submit().status == 0
    (tiny.run / "submission.csv").unlink()
    missing = f"submission.csv is missing; make it anew: cairn submit --redo --run {tiny.run}"
    assert missing in cairn("evaluate", "--run", tiny.run).err
    (tiny.data / "solution.csv").unlink()
    end = cairn("evaluate", "--run", tiny.run)
    assert end.status == 1
    assert "has no solution.csv (columns id,landmarks)" in end.err


def test_an_absent_run_says_how_to_make_one(tmp_path: Path) -> None:
    end = cairn("evaluate", "--run", tmp_path / "absent")
    assert end.status == 1
    assert str(tmp_path / "absent") in end.err
    assert not (tmp_path / "absent").exists()


def test_neighbours_are_read_without_a_python_object_a_row(tmp_path: Path) -> None:
    """Of Q x K rows there are millions; a list of them would take gigabytes."""
    queries, neighbors, most = 2000, 100, 20
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 50, (queries, neighbors))
    places, ranks = (axis.ravel() for axis in np.indices(labels.shape))
    order = rng.permutation(labels.size)
    ids = [f"query{number}" for number in range(queries)]
    table = {
        "query_id": pa.array([ids[place] for place in places[order]]),
        "rank": ranks[order],
        "landmark_id": labels.ravel()[order],
    }
    path = tmp_path / "neighbors.parquet"
    pq.write_table(pa.table(table), path)
    asked = ["nobody", *reversed(ids[:1500])]
    del table, order
    tracemalloc.start()
    ranked = read_ranked(path, asked, most)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (ranked[0] == -1).all()
    np.testing.assert_array_equal(ranked[1:], labels[1499::-1, :most])
    assert peak < 24 * labels.size  # bytes of a row; as Python objects it takes 150


def test_the_retrieval_figure_is_that_of_the_stored_neighbours(tiny: Tiny) -> None:
    """The mean over queries of landmarks that the database shows, of all whose images are hits."""
    assert cairn("evaluate", "--run", tiny.run).status == 0
    metrics = json.loads((tiny.run / "metrics.json").read_text())
    truths = load_solution(tiny.data / "solution.csv")
    images = RowTable.load(tiny.run / "index" / "rows.arrow")
    near = pq.read_table(tiny.run / "neighbors.parquet").to_pandas()
    found = []
    for query_id, truth in zip(truths.query_ids, truths.truths, strict=True):
        total = int(np.isin(images.landmark_ids, list(truth)).sum())
        ranks = near[near["query_id"] == query_id].sort_values("rank")[:100]
        hits = ranks["landmark_id"].isin(truth).to_numpy()
        if total:
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            found.append(float(precision[hits].sum()) / min(total, 100))
    assert metrics["map_at_100"] == pytest.approx(np.mean(found))
