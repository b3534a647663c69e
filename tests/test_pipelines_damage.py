"""Damage to a run's files never goes unseen, and the command that is named repairs it."""

import shutil
from pathlib import Path

import pytest

from pipelines.artifacts import load_manifest
from tests.conftest import Tiny
from tests.damage import count_outcomes, load_all
from tests.datasets import cairn, results


@pytest.fixture(scope="module")
def scratch(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the finished run that is as it was after each test."""
    run = tmp_path_factory.mktemp("damage") / "run"
    shutil.copytree(finished.run, run)
    return run


def test_of_sixty_damaged_files_none_is_loaded(scratch: Path, calibrated: Tiny) -> None:
    load_all(scratch, scratch / "run.json")  # as it is, all of it is loaded
    counts, wrong = count_outcomes(scratch, calibrated.run, 60, seed=1)
    assert wrong == []
    assert counts.total() == 60


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


# Of these the one file is made again, whatever else is in its folder.
IN_PARTS = (
    "embeddings/train/part-00001.parquet",
    "embeddings/train/images.parquet",
    "embeddings/test/failures.parquet",
    "embeddings/non_landmark/manifest.json",
    "features/train/part-00000.parquet",
    "features/train/places.arrow",
    "features/test/manifest.json",
)
REPAIRS = {
    "model/model.safetensors": "train",
    "model/head.safetensors": "train",
    "model/manifest.json": "train",
    **{name: "submit" if "/test/" in name else "index" for name in IN_PARTS},
    "index/vectors.npy": "index",
    "index/rows.arrow": "index",
    "index/manifest.json": "index",
    "decision/decision.json": "index",
    "decision/manifest.json": "index",
    "evidence.parquet": "submit",
    "submission.csv": "submit",
    "submit/manifest.json": "submit",
}


@pytest.mark.parametrize("name", REPAIRS)
def test_the_command_that_is_named_gives_the_same_bytes_again(name: str, tiny: Tiny) -> None:
    before = results(tiny.run)
    flip(tiny.run / name)
    end = cairn("verify", tiny.run)
    assert end.status == 1
    command = f"cairn {REPAIRS[name]}{' --redo' * (name not in IN_PARTS)} --run {tiny.run}"
    advice = "delete it, and make it anew" if name in IN_PARTS else "make it anew"
    assert f"{tiny.run / name} is damaged: " in end.out
    assert f"{advice}: {command}" in end.out
    if name in IN_PARTS:
        (tiny.run / name).unlink()
    assert cairn(*command.split()[1:], "--data", tiny.data, "--workers", 0).status == 0
    assert results(tiny.run) == before
    end = cairn("verify", tiny.run)
    assert (end.status, "nothing is damaged" in end.out) == (0, True)
    assert cairn("submit", "--run", tiny.run, "--workers", 0).status == 0
    assert results(tiny.run) == before


def list_searched(tiny: Tiny) -> None:
    """Let the database be a table of its own."""
    shutil.copy(tiny.data / "train.csv", tiny.data / "index.csv")


@pytest.mark.parametrize("searched", ["train", "index"])
def test_without_a_test_table_the_named_command_repairs_what_a_query_reads(
    searched: str, fresh: Tiny
) -> None:
    for name in ("test.csv", "solution.csv"):
        (fresh.data / name).unlink()
    if searched == "index":
        list_searched(fresh)
    assert cairn("index", *fresh.options).status == 0
    ask = ("query", fresh.data / "images" / "q0.jpg", "--run", fresh.run, "--json")
    before = cairn(*ask)
    part = fresh.run / "features" / searched / "part-00000.parquet"
    flip(part)
    end = cairn(*ask)
    command = f"cairn index --run {fresh.run}"
    assert end.status == 1 and f"delete it, and make it anew: {command}" in end.err
    part.unlink()
    assert f"{part} is missing; make it anew: {command}" in cairn(*ask).err
    assert cairn(*command.split()[1:], "--workers", 0).status == 0
    assert cairn(*ask) == before


def test_what_only_a_cleaning_reads_is_repaired_by_one(fresh: Tiny) -> None:
    list_searched(fresh)
    assert cairn("index", *fresh.options).status == 0
    clean = ("data", "clean", fresh.run, "--into", fresh.data.with_name("clean"))
    assert cairn(*clean).status == 0
    part = fresh.run / "embeddings" / "train" / "part-00000.parquet"
    flip(part)
    end = cairn("verify", fresh.run)
    assert f"delete it, and make it anew: cairn data clean {fresh.run}" in end.out
    part.unlink()
    assert cairn("data", "clean", fresh.run).status == 0
    assert cairn("verify", fresh.run).status == 0


def test_a_damaged_run_file_is_written_anew_by_naming_what_it_held(tiny: Tiny) -> None:
    before = results(tiny.run)
    flip(tiny.run / "run.json")
    end = cairn("submit", "--run", tiny.run)
    assert end.status == 1
    assert f"{tiny.run}/run.json is damaged: its sha256 differs" in end.err
    assert f"make it anew: cairn submit --run {tiny.run} --data FOLDER --recipe NAME" in end.err
    assert tiny.submit().status == 0
    assert results(tiny.run) == before
    assert cairn("verify", tiny.run).status == 0


def test_training_is_never_done_again_unasked(tiny: Tiny) -> None:
    (tiny.run / "model" / "head.safetensors").unlink()
    before = results(tiny.run)
    end = tiny.submit()
    assert end.status == 1
    missing = f"{tiny.run}/model/head.safetensors is missing; make it anew: cairn train --redo"
    assert missing in end.err
    assert results(tiny.run) == before


def test_an_edited_submission_is_neither_scored_nor_written_over(tiny: Tiny) -> None:
    path = tiny.run / "submission.csv"
    edited = path.read_text().replace("q0,0 ", "q0,1 ")
    path.write_text(edited)
    for end in (cairn("evaluate", "--run", tiny.run), tiny.submit()):
        assert end.status == 1
        assert f"{path} is damaged: its sha256 is not its manifest's" in end.err
        assert "to score it as it is: cairn evaluate --submission FILE --solution FILE" in end.err
    assert path.read_text() == edited


@pytest.mark.parametrize("folder", ["embeddings", "features"])
def test_an_interrupted_stage_makes_a_damaged_part_again(folder: str, tiny: Tiny) -> None:
    before = results(tiny.run)
    (tiny.run / folder / "train" / "manifest.json").unlink()
    flip(tiny.run / folder / "train" / "part-00000.parquet")
    assert tiny.submit().status == 0
    assert results(tiny.run) == before


def test_a_part_that_no_manifest_names_is_not_loaded(tiny: Tiny) -> None:
    before = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run, "--json").out
    for folder in ("embeddings", "features"):
        part = tiny.run / folder / "non_landmark" / "part-00000.parquet"
        shutil.copy(part, tiny.run / folder / "train" / "part-00099.parquet")
    end = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run, "--json")
    assert (end.status, end.out) == (0, before)


def test_a_recipe_that_describes_otherwise_is_not_asked_with(tiny: Tiny) -> None:
    """As when a run with other settings was interrupted before it embedded anything."""
    text = tiny.recipe.read_text().replace("[embed]", "[embed]\nflip = true")
    tiny.recipe.write_text(text)
    assert cairn("train", *tiny.options).status == 0
    end = cairn("query", tiny.data / "images" / "q0.jpg", "--run", tiny.run)
    assert end.status == 1
    assert "run.json describes photos otherwise than those in" in end.err
    manifest = load_manifest(tiny.run / "embeddings" / "train")
    assert manifest is not None and manifest.settings["embed"]["flip"] is False


@pytest.mark.parametrize("name", ["history.csv", "metrics.csv", "failures.parquet"])
def test_what_a_training_leaves_to_read_costs_no_new_training(
    name: str, tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    (tiny.run / "model" / name).unlink()
    before = results(tiny.run)
    assert tiny.submit().status == 0
    assert f"{tiny.run / 'model' / name}: it is missing; the model does not need it" in caplog.text
    assert results(tiny.run) == before
    assert cairn("verify", tiny.run).status == 1
