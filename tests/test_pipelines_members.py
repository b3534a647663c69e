"""Ensembles: two models of one run answer together, in the submission and in a query."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from classify_head.ensemble import combine_heads, concatenate_descriptors
from pipelines.answers.open_run import load_split_embeddings
from pipelines.recognizer import Recognizer
from pipelines.reports.page.run_report import collect_report
from pipelines.runs.members import link_first_model, list_member_jobs
from tests.conftest import Tiny
from tests.datasets import QUERIES, cairn, make_dataset, make_job, make_recipe_file, results

CHANGES = """
[decide]
max_overlap = 1.0

[train]
epochs = 1

[ensemble]
rule = "mean"

[ensemble.members.small]

[ensemble.members.other.train]
backbone = "test_vit"
head.kind = "linear"

[ensemble.members.other.embed]
flip = true
"""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run of two models of different architectures; one photo is broken."""
    folder = tmp_path_factory.mktemp("together")
    data = make_dataset(folder / "data")
    (data / "images" / "q3.jpg").write_bytes(b"no photo")
    tiny = Tiny(data, make_recipe_file(folder / "tiny.toml", CHANGES), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def test_each_member_has_a_model_of_its_own(together: Tiny) -> None:
    found = {}
    for name in ("small", "other"):
        model = json.loads((together.run / "members" / name / "model" / "model.json").read_text())
        found[name] = model["spec"]["backbone"]["architecture"]
    assert found == {"small": "test_resnet", "other": "test_vit"}
    assert (together.run / "model").resolve() == together.run / "members" / "small" / "model"


def test_the_report_names_every_model_and_shows_its_training(together: Tiny) -> None:
    report = collect_report(make_job(together.data, together.run, together.recipe), None)
    model = dict(report.facts)["model"]
    assert "test_resnet at 32 px" in model and "test_vit at 32 px" in model
    dim = load_split_embeddings(together.run, "train").vectors.shape[1]
    assert model.endswith(f", {dim} values")
    assert [picture.title for picture in report.curves] == ["small", "other"]


def test_what_the_members_say_is_combined(together: Tiny) -> None:
    whole = load_split_embeddings(together.run, "test")
    parts = [
        load_split_embeddings(together.run / "members" / name, "test")
        for name in ("small", "other")
    ]
    assert whole.ids == parts[0].ids == tuple(query for query in QUERIES if query != "q3")
    vectors = concatenate_descriptors([part.vectors for part in parts])
    assert whole.vectors.tobytes() == vectors.tobytes()
    head = combine_heads([part.head for part in parts], "mean")
    assert whole.head.labels.tolist() == head.labels.tolist()
    assert whole.head.probabilities.tobytes() == head.probabilities.tobytes()


def test_an_unreadable_photo_is_on_record(together: Tiny) -> None:
    failures = pq.read_table(together.run / "embeddings" / "test" / "failures.parquet").to_pylist()
    assert [(row["image_id"], row["reason"]) for row in failures] == [("q3", "not_an_image")]
    with (together.run / "submission.csv").open(newline="") as file:
        assert set(dict(csv.reader(file))) == {"id", *QUERIES}


def test_a_query_is_answered_as_in_the_submission(together: Tiny) -> None:
    engine = Recognizer.load(together.run)
    stored = load_split_embeddings(together.run, "test")
    for row, query in enumerate(stored.ids):
        path = together.data / "images" / f"{query}.jpg"
        describer = engine.opened.describer
        queries, (features,) = describer.describe([describer.decode(path)], [query])
        assert queries.ids == (query,) and features is not None
        np.testing.assert_allclose(queries.vectors[0], stored.vectors[row], atol=1e-5)
        np.testing.assert_allclose(
            queries.head.probabilities[0], stored.head.probabilities[row], atol=1e-5
        )
    with (together.run / "submission.csv").open(newline="") as file:
        label, confidence = dict(csv.reader(file))["q0"].split(" ")
    answer = engine.recognize(together.data / "images" / "q0.jpg")
    assert answer.confidence == pytest.approx(float(confidence), abs=1e-4)
    assert answer.label in (int(label), None)


def test_the_same_command_again_does_nothing(together: Tiny) -> None:
    written = {path: path.stat().st_mtime_ns for path in together.run.rglob("manifest.json")}
    assert together.submit().status == 0
    assert {
        path: path.stat().st_mtime_ns for path in together.run.rglob("manifest.json")
    } == written


def test_another_rule_needs_no_training(together: Tiny, tmp_path: Path) -> None:
    shutil.copytree(together.run, tmp_path / "run", symlinks=True)
    models = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "members").glob("*/model/*")}
    changes = CHANGES.replace('"mean"', '"highest"')
    other = Tiny(together.data, make_recipe_file(tmp_path / "r.toml", changes), tmp_path / "run")
    end = other.submit()
    assert end.status == 0, end.err
    assert {p: p.stat().st_mtime_ns for p in models} == models
    found = load_split_embeddings(other.run, "test").head
    before = load_split_embeddings(together.run, "test").head
    assert found.probabilities.tolist() != before.probabilities.tolist()


def test_a_model_in_place_of_an_ensemble_leaves_its_members_alone(
    together: Tiny, tmp_path: Path
) -> None:
    run, recipe = tmp_path / "run", make_recipe_file(tmp_path / "single.toml")
    shutil.copytree(together.run, run, symlinks=True)
    models = {path: path.read_bytes() for path in (run / "members").glob("*/model/*")}
    assert (run / "model").is_symlink()
    single = ("--data", together.data, "--run", run, "--recipe", recipe, "--workers", 0)
    end = cairn("train", "--redo", *single)
    assert end.status == 0, end.err
    assert not (run / "model").is_symlink()
    assert {path: path.read_bytes() for path in models} == models


def test_the_seconds_of_every_member_are_counted(together: Tiny) -> None:
    seconds = json.loads((together.run / "metrics.json").read_text())["seconds"]
    assert {"members/small/model", "members/other/model", "embeddings/test"} <= set(seconds)
    assert "model" not in seconds


def test_a_run_with_a_model_of_its_own_is_not_taken_for_an_ensemble(tiny: Tiny) -> None:
    recipe = make_recipe_file(tiny.run.parent / "ensemble.toml", CHANGES)
    job = make_job(tiny.data, tiny.run, recipe)
    with pytest.raises(ValueError, match="holds a model that is no ensemble's"):
        link_first_model(job)


def test_members_are_jobs_with_recipes_of_their_own(tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "r.toml", CHANGES)
    jobs = list_member_jobs(make_job(tmp_path, tmp_path / "run", recipe))
    assert [job.run.name for job in jobs] == ["small", "other"]
    assert [job.recipe.train.backbone for job in jobs] == ["test_resnet", "test_vit"]
    assert [job.recipe.embed.flip for job in jobs] == [False, True]
    assert all(not job.recipe.ensemble.members for job in jobs)
    plain = make_job(tmp_path, tmp_path / "run", make_recipe_file(tmp_path / "plain.toml"))
    assert [job.run for job in list_member_jobs(plain)] == [tmp_path / "run"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("members/other/model/model.safetensors", "train"),
        ("members/other/embeddings/test/part-00000.parquet", "submit"),
        ("members/small/model/model.json", "train"),
        ("embeddings/train/part-00000.parquet", "index"),
    ],
)
def test_damage_to_a_member_is_repaired_by_the_command_that_is_named(
    name: str, command: str, together: Tiny, tmp_path: Path
) -> None:
    run, before = tmp_path / "run", results(together.run)
    shutil.copytree(together.run, run, symlinks=True)
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    end = cairn("verify", run)
    assert end.status == 1
    in_parts = name.endswith(".parquet")
    named = f"cairn {command}{' --redo' * (not in_parts)} --run {run}"
    assert f"{run / name} is damaged: its sha256" in end.out
    assert f"{'delete it, and make it anew' if in_parts else 'make it anew'}: {named}" in end.out
    if in_parts:
        (run / name).unlink()
    assert cairn(*named.split()[1:], "--workers", 0).status == 0
    assert cairn("verify", run).status == 0
    assert results(run) == before
