"""A run that verifies by a DELF of its own: trained, asked; and what is damaged is named."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.answers.extractors import EXTRACTORS, build_extractor, find_fingerprint
from pipelines.answers.open_run import open_features
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.datasets import (
    DELF,
    LANDMARKS,
    PHOTOS,
    QUERIES,
    accept_changes,
    cairn,
    make_recipe_file,
    results,
)

OTHER = DELF.replace("max_features = 60", "max_features = 40")


@pytest.fixture(scope="module")
def verified(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run with DELF, on the model of the run with SIFT."""
    folder = tmp_path_factory.mktemp("delf")
    shutil.copytree(finished.run, folder / "run")
    tiny = Tiny(finished.data, make_recipe_file(folder / "tiny.toml", DELF), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


@pytest.fixture
def copied(verified: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of the run, free to be changed."""
    shutil.copytree(verified.run, tmp_path / "run")
    recipe = make_recipe_file(tmp_path / "tiny.toml", DELF)
    return Tiny(verified.data, recipe, tmp_path / "run")


def stamps(run: Path, folder: str) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (run / folder).rglob("*.*")}


def test_the_fingerprint_is_told_without_loading_a_network(
    verified: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_recipe(str(verified.recipe)).rerank
    made = build_extractor(verified.run, settings).fingerprint
    monkeypatch.delitem(EXTRACTORS, "delf")
    assert find_fingerprint(verified.run, settings) == made


def test_a_run_with_delf_verifies_its_candidates(verified: Tiny, finished: Tiny) -> None:
    manifest = load_manifest(verified.run / "delf")
    assert manifest is not None
    assert manifest.counts["written"] == LANDMARKS * PHOTOS
    with (verified.run / "delf" / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    found = pq.read_table(verified.run / "verified.parquet")
    assert found.num_rows == len(QUERIES) * LANDMARKS * PHOTOS
    assert max(found["inliers"].to_pylist()) > 4
    sift = pq.read_table(finished.run / "verified.parquet")
    assert found["inliers"].to_pylist() != sift["inliers"].to_pylist()
    assert len((verified.run / "submission.csv").read_text().splitlines()) == 1 + len(QUERIES)


def test_the_descriptor_model_is_left_alone(verified: Tiny, finished: Tiny) -> None:
    names = ("model/model.safetensors", "model/head.safetensors")
    first, second = results(finished.run), results(verified.run)
    assert [first[name] for name in names] == [second[name] for name in names]


@pytest.mark.parametrize("query", QUERIES[::3])
def test_a_query_finds_what_the_submission_found(query: str, verified: Tiny) -> None:
    engine = Recognizer.load(verified.run)
    answer = engine.recognize(verified.data / "images" / f"{query}.jpg", neighbors=100)
    rows = pq.read_table(verified.run / "verified.parquet").to_pylist()
    stored = {row["image_id"]: row["inliers"] for row in rows if row["query_id"] == query}
    asked = {match.image_id: match.inliers for match in answer.neighbors}
    assert asked.keys() == stored.keys()
    # One image alone goes through the network otherwise than four: the last bits may differ.
    differ = [abs(stored[image_id] - (asked[image_id] or 0)) for image_id in stored]
    assert max(differ) <= 2
    rows = pq.read_table(verified.run / "predictions.parquet").to_pylist()
    row = next(row for row in rows if row["query_id"] == query)
    assert answer.confidence == pytest.approx(row["confidence"], abs=0.05)


def test_the_same_again_does_nothing(copied: Tiny) -> None:
    before = {folder: stamps(copied.run, folder) for folder in ("delf", "features", "index")}
    assert copied.submit().status == 0
    assert {folder: stamps(copied.run, folder) for folder in before} == before


def test_other_settings_of_extraction_do_not_train_anew(copied: Tiny) -> None:
    trained, features = stamps(copied.run, "delf"), stamps(copied.run, "features")
    make_recipe_file(copied.recipe, OTHER)
    assert copied.submit().status == 0
    assert stamps(copied.run, "features") != features
    recipe = load_recipe(str(copied.recipe))
    store = open_features(copied.run, "train", recipe)
    assert store is not None
    found = store.get("thing0-0")
    assert found is not None
    assert len(found) <= 40
    assert stamps(copied.run, "delf") == trained


def test_other_settings_of_training_train_anew(copied: Tiny) -> None:
    before = find_fingerprint(copied.run, load_recipe(str(copied.recipe)).rerank)
    make_recipe_file(copied.recipe, DELF.replace("hidden = 16", "hidden = 8"))
    assert copied.submit().status == 0
    assert find_fingerprint(copied.run, load_recipe(str(copied.recipe)).rerank) != before


def test_two_trainings_give_the_same_bytes(verified: Tiny, copied: Tiny) -> None:
    for folder in ("delf", "features"):
        shutil.rmtree(copied.run / folder)
    assert copied.submit().status == 0
    assert results(copied.run) == results(verified.run)


def part_of(tiny: Tiny) -> Path:
    return tiny.run / "features" / "train" / "part-00000.parquet"


def test_a_damaged_row_group_is_named_with_what_to_do(verified: Tiny, copied: Tiny) -> None:
    part = part_of(copied)
    data = bytearray(part.read_bytes())
    data[200:2000:50] = bytes(36)
    part.write_bytes(data)
    photo = copied.data / "images" / "q0.jpg"
    end = cairn("query", photo, "--run", copied.run)
    assert end.status == 1
    assert f"error: {part} is damaged: " in end.err
    assert end.err.endswith(f"; delete it, and make it anew: cairn index --run {copied.run}\n")
    part.unlink()
    assert cairn("index", "--run", copied.run, "--workers", 0).status == 0
    assert cairn("query", photo, "--run", copied.run).status == 0
    assert results(copied.run) == results(verified.run)


def test_a_shard_that_was_cut_short_is_made_again(verified: Tiny, copied: Tiny) -> None:
    part = part_of(copied)
    part.write_bytes(part.read_bytes()[:-100])
    end = cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run)
    assert (end.status, f"{part} is damaged: it ends after" in end.err) == (1, True)
    assert cairn("index", *copied.options).status == 0
    assert results(copied.run) == results(verified.run)


def test_a_damaged_delf_is_refused_and_trained_anew_when_asked(
    verified: Tiny, copied: Tiny
) -> None:
    path = copied.run / "delf" / "delf.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    command = f"cairn train --redo --run {copied.run}"
    photo = copied.data / "images" / "q0.jpg"
    for end in (cairn("query", photo, "--run", copied.run), cairn("index", *copied.options)):
        assert end.status == 1
        assert f"{path} is damaged: its sha256 is not its manifest's" in end.err
        assert f"make it anew: {command}" in end.err
    assert cairn(*command.split()[1:], "--workers", 0).status == 0
    assert copied.submit().status == 0
    assert results(copied.run) == results(verified.run)


def test_features_of_another_extractor_are_refused(copied: Tiny, finished: Tiny) -> None:
    shutil.rmtree(copied.run / "features")
    shutil.copytree(finished.run / "features", copied.run / "features")
    end = cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run)
    assert end.status == 1
    assert "places.arrow is of features by extractor" in end.err
    assert f"or make it anew: cairn index --run {copied.run}" in end.err
    assert cairn("index", *copied.options).status == 0
    assert Recognizer.load(copied.run).opened.retriever.features is not None


def test_delf_of_another_model_is_refused(copied: Tiny) -> None:
    path = copied.run / "delf" / "delf.json"
    own = json.loads((copied.run / "model" / "model.json").read_text())["fingerprint"]
    path.write_text(path.read_text().replace(own, "f" * 64))
    end = cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run)
    assert (end.status, f"{path} is damaged: its sha256" in end.err) == (1, True)
    accept_changes(path.parent)
    end = cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run)
    assert end.status == 1
    assert "belongs to descriptor model ffffffffffff" in end.err
    assert "train DELF again for this model" in end.err


def test_a_model_trained_anew_gets_a_delf_of_its_own(copied: Tiny) -> None:
    make_recipe_file(copied.recipe, f"[train]\nseed = 3\nepochs = 1\n{DELF}")
    assert cairn("train", *copied.options, "--redo").status == 0
    end = cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run)
    assert end.status == 1
    assert copied.submit().status == 0
    assert cairn("query", copied.data / "images" / "q0.jpg", "--run", copied.run).status == 0


def test_training_makes_delf_too(copied: Tiny) -> None:
    shutil.rmtree(copied.run / "delf")
    assert cairn("train", *copied.options).status == 0
    assert load_manifest(copied.run / "delf") is not None
