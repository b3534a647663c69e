"""Policies on stored evidence: the run's own come out equal, those that lack something say so."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from classify_head.answers import Answers
from classify_head.evidence import Evidence
from classify_head.evidence_store import read_evidence, write_evidence
from classify_head.gap import gap
from classify_head.policies import POLICIES, decide
from classify_head.submission import load_solution
from pipelines.answers.open_run import load_split_embeddings, open_retriever
from pipelines.artifacts import load_manifest
from pipelines.runs.job import Job, open_job
from pipelines.scores.ablate import (
    NO_GEOMETRY,
    OWN,
    REFINED,
    Ablation,
    ablate_run,
    forget_geometry,
    load_stored,
    refine,
)
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, QUERIES, accept_changes, cairn
from tests.evidence import imagine


def open_tiny(tiny: Tiny) -> Job:
    return open_job(tiny.data, tiny.run, None, None)


@pytest.fixture(scope="module")
def copied(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a copy of the finished run that the tests of this module may write into."""
    run = tmp_path_factory.mktemp("ablate") / "run"
    shutil.copytree(finished.run, run)
    return Tiny(finished.data, finished.recipe, run)


@pytest.fixture(scope="module")
def ablation(copied: Tiny) -> Ablation:
    return ablate_run(open_tiny(copied))


def change_evidence(tiny: Tiny, **arrays: Any) -> Evidence:
    """Change the stored evidence of a run."""
    path = tiny.run / "evidence.parquet"
    evidence = replace(read_evidence(path), **arrays)
    write_evidence(evidence, path)
    accept_changes(tiny.run / "submit")
    return evidence


def test_every_policy_has_a_row_below_the_runs_own(ablation: Ablation) -> None:
    assert [row.policy for row in ablation.rows] == [OWN, *POLICIES, REFINED, NO_GEOMETRY]
    assert all(row.figures for row in ablation.rows)
    transductive = {row.policy for row in ablation.rows if row.transductive}
    assert transductive == {"inliers-mix", "frequent-label"}


def test_the_policies_of_the_steps_score_as_the_steps(copied: Tiny, ablation: Ablation) -> None:
    steps = json.loads((copied.run / "metrics.json").read_text())["steps"]
    rows = {row.policy: row.figures for row in ablation.rows}
    for policy, step in {"knn-power": "knn", "calibrated": "final", OWN: "final"}.items():
        figures = rows[policy]
        assert figures is not None
        for name in ("gap", "gap_landmark_only", "top1"):
            assert getattr(figures, name) == steps[step][name], (policy, name)
    calibrated = rows["calibrated"]
    assert calibrated is not None
    assert (calibrated.difference, calibrated.low, calibrated.high) == (0, 0, 0)


def test_the_nearest_neighbour_scores_as_its_table_says(copied: Tiny, ablation: Ablation) -> None:
    rows = pq.read_table(copied.run / "neighbors.parquet").to_pylist()
    nearest = {row["query_id"]: row for row in rows if row["rank"] == 0}
    answers = Answers.from_rows(
        (
            query_id,
            nearest[query_id]["landmark_id"],
            nearest[query_id]["score"],
            [place] if place < LANDMARKS else [],
        )
        for place, query_id in enumerate(QUERIES)
    )
    figures = next(row.figures for row in ablation.rows if row.policy == "top1")
    assert figures is not None
    assert figures.gap == pytest.approx(gap(answers))
    assert figures.difference == pytest.approx(gap(answers) - 1)
    assert figures.low <= figures.difference <= figures.high


def test_nothing_but_the_figures_is_written(tiny: Tiny) -> None:
    def stamps() -> dict[Path, int]:
        files = [path for path in tiny.run.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in files}

    before = stamps()
    end = cairn("ablate", tiny.run, "--json")
    assert end.status == 0, end.err
    after = stamps()
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed == {"ablation.json"}
    assert json.loads((tiny.run / "ablation.json").read_text()) == json.loads(end.out)


def test_the_table_has_the_best_first(copied: Tiny, ablation: Ablation) -> None:
    lines = cairn("ablate", copied.run).out.splitlines()
    rows = lines[1 : 1 + len(ablation.rows)]
    assert lines[0].split()[0] == "policy"
    assert rows[0].startswith(OWN)
    values = [row.figures.gap for row in ablation.rows[1:] if row.figures]
    shown = [float(row[24:].split()[0]) for row in rows[1:]]
    assert shown == pytest.approx(sorted(values, reverse=True), abs=1e-4)
    starred = {row.split("*")[0] for row in rows if "*" in row}
    assert starred == {"inliers-mix", "frequent-label"}


def test_policies_that_miss_evidence_say_what(tiny: Tiny) -> None:
    evidence = read_evidence(tiny.run / "evidence.parquet")
    change_evidence(
        tiny,
        query_pool=evidence.query_pool[:, :0],
        neighbor_pool=evidence.neighbor_pool[:, :, :0],
        head_labels=evidence.head_labels[:, :0],
        head_scores=evidence.head_scores[:, :0],
    )
    rows = {row.policy: row for row in ablate_run(open_tiny(tiny)).rows}
    assert rows["nl-gate"].figures is None
    assert "add a table non_landmark to the dataset" in rows["nl-gate"].missing
    assert "classification head finds most likely" in rows["beta-mix"].missing
    assert rows["knn-power"].figures is not None
    out = cairn("ablate", tiny.run).out
    assert f"not tried: nl-gate: {rows['nl-gate'].missing}" in out
    assert "self-verified" not in out


def test_a_run_of_another_policy_has_no_calibrated_row(tiny: Tiny) -> None:
    path = tiny.run / "decision" / "decision.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": None}))
    accept_changes(tiny.run / "decision")
    rows = ablate_run(open_tiny(tiny)).rows
    assert [row.policy for row in rows[-2:]] == ["calibrated", REFINED]
    assert rows[-2].figures is None
    assert "fitted on a validation split" in rows[-2].missing


def test_the_self_verified_gap_has_its_name_and_a_warning(tiny: Tiny) -> None:
    evidence = read_evidence(tiny.run / "evidence.parquet")
    heads = evidence.head_labels.copy()
    # The head finds for q0 to q4 what the local features confirm, for the others nothing near.
    heads[:, 0] = [*range(5), 7, 7, 7]
    change_evidence(tiny, head_labels=heads)
    out = cairn("ablate", tiny.run).out
    # Those of label 7 have no image among the neighbours, so they are not counted as shown.
    order = np.argsort(-evidence.head_scores[:, 0], kind="stable")
    confirmed = order < 5
    precision = np.cumsum(confirmed) / np.arange(1, len(order) + 1)
    expected = precision[confirmed].sum() / 5
    assert f"self-verified GAP of torino: {expected:.4f}; it uses no ground truth" in out


def test_unreadable_queries_are_not_answered(tiny: Tiny) -> None:
    text = (tiny.data / "solution.csv").read_text()
    (tiny.data / "solution.csv").write_text(text + "broken,3,Public\n")
    solution = load_solution(tiny.data / "solution.csv")
    stored = replace(load_stored(open_tiny(tiny)), failed=("broken",))
    decisions = stored.decide("knn-power")
    answers = stored.match(decisions.answers, solution)
    assert dict(zip(answers.query_ids, answers.labels.tolist(), strict=True))["broken"] == -1
    assert answers.labels[: len(QUERIES)].tolist() == decisions.answers.labels.tolist()


def test_the_neighbours_rows_are_those_of_the_database(copied: Tiny) -> None:
    stored = load_stored(open_tiny(copied))
    labels = stored.database.rows.labels(stored.rows)
    assert (labels == stored.evidence.labels).all()


def test_refined_evidence_is_that_of_a_run_which_refines(copied: Tiny) -> None:
    job = open_tiny(copied)
    stored = load_stored(job)
    rerank = job.recipe.rerank.model_copy(update={"refine": 1000, "method": "none"})
    recipe = job.recipe.model_copy(update={"rerank": rerank})
    opened = open_retriever(job.run, job.recipe, stored.database.fingerprint)
    retriever = replace(opened, recipe=recipe, features=None)
    queries = load_split_embeddings(job.run, "test")
    _, expected = retriever.gather(queries, lambda row: None)
    found = refine(stored, job.recipe.rerank)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-6)
    assert (found.similarities != stored.evidence.similarities).any()


def test_geometry_forgotten_changes_nothing_else() -> None:
    evidence, _ = imagine(20, seed=3)
    without = forget_geometry(evidence)
    assert (without.inliers == -1).all()
    assert np.isnan(without.residuals).all()
    for name in ("top1", "knn-power", "nl-query", "knn-power-x-head"):
        first, second = decide(evidence, POLICIES[name]), decide(without, POLICIES[name])
        assert first.reasons == second.reasons
        assert first.guesses.labels.tolist() == second.guesses.labels.tolist()
        assert first.guesses.confidences.tolist() == second.guesses.confidences.tolist()


def test_parts_that_do_not_belong_together_are_refused(tiny: Tiny) -> None:
    manifest = load_manifest(tiny.run / "submit")
    assert manifest is not None
    accept_changes(tiny.run / "submit", inputs={**manifest.inputs, "index": "another"})
    end = cairn("ablate", tiny.run)
    assert end.status == 1
    assert "was made with another index or other queries than are there now" in end.err


@pytest.mark.parametrize("missing", ["evidence.parquet", "submission.csv"])
def test_what_is_not_there_is_named(missing: str, tiny: Tiny) -> None:
    (tiny.run / missing).unlink()
    end = cairn("ablate", tiny.run)
    advice = f"{missing} is missing; make it anew: cairn submit --redo --run {tiny.run}"
    assert (end.status, advice in end.err) == (1, True)


def test_a_fault_in_a_policy_is_not_taken_for_a_missing_head(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("classify_head.rejection.RejectTorino.judge", fail)
    with pytest.raises(ValueError, match="a bug"):
        ablate_run(open_tiny(tiny))
