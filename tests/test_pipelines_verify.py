"""`cairn verify`: every file of a run, and what can be done about the damaged ones."""

import json
import shutil
from pathlib import Path

from pipelines.artifacts import load_manifest
from pipelines.runs.verify import UNLISTED, verify_run
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file


def states(run: Path) -> dict[str, str]:
    return {found.artifact: found.state for found in verify_run(run)}


def test_a_finished_run_is_intact(finished: Tiny) -> None:
    found = {each.artifact: each for each in verify_run(finished.run)}
    splits = ("held_out", "non_landmark", "test", "train")
    folders = {f"{kind}/{split}" for kind in ("embeddings", "features") for split in splits}
    known = {*folders, "run.json", "index/names.json", "model", "index", "decision", "submit"}
    assert (
        known - {"embeddings/held_out", "features/held_out"} <= found.keys() <= {*known, UNLISTED}
    )
    assert {each.state for name, each in found.items() if name != UNLISTED} == {"intact"}
    manifest = load_manifest(finished.run / "model")
    assert manifest is not None
    assert found["model"].files == len(manifest.outputs)
    assert found["model"].bytes == sum(record.bytes for record in manifest.outputs)
    listed = sum(each.files for each in found.values())
    manifests = len(list(finished.run.rglob("manifest.json")))
    every = [path for path in finished.run.rglob("*") if path.is_file()]
    assert listed + manifests + (finished.run / ".lock").is_file() == len(every)


def test_the_table_and_the_json_say_the_same(tiny: Tiny) -> None:
    (tiny.run / "decision" / "decision.json").write_text("{}")
    shown, listed = cairn("verify", tiny.run), cairn("verify", tiny.run, "--json")
    assert shown.status == listed.status == 1
    found = {each["artifact"]: each for each in json.loads(listed.out)}
    assert found["decision"]["state"] == "damaged"
    line = (
        f"{tiny.run}/decision/decision.json is damaged: it ends after 2 of "
        f"{load_size(tiny, 'decision.json'):,} bytes; make it anew: cairn index --redo --run "
        f"{tiny.run}"
    )
    assert found["decision"]["damages"] == [line]
    assert shown.out.splitlines()[-3:] == [line, "", "1 damaged or missing"]
    row = next(text for text in shown.out.splitlines() if text.startswith("decision"))
    assert row.split()[-1] == "damaged"


def load_size(tiny: Tiny, name: str) -> int:
    manifest = load_manifest(tiny.run / "decision")
    assert manifest is not None
    return next(record.bytes for record in manifest.outputs if record.name == name)


def test_a_flip_in_a_part_that_is_read_in_pieces_is_found(tiny: Tiny) -> None:
    path = tiny.run / "features" / "test" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    assert states(tiny.run)["features/test"] == "damaged"


def test_what_was_interrupted_or_is_stale_is_no_damage(tiny: Tiny) -> None:
    (tiny.run / "submit" / "manifest.json").unlink()
    make_recipe_file(tiny.recipe, "[search]\nwhiten = 'pca'\nwhiten_dim = 4\n")
    assert cairn("embed", *tiny.options).status == 0
    shutil.copytree(tiny.run / "decision", tiny.run / "kept")
    assert cairn("index", *tiny.options).status == 0
    shutil.rmtree(tiny.run / "decision")
    shutil.move(tiny.run / "kept", tiny.run / "decision")
    found = states(tiny.run)
    assert (found["submit"], found["decision"], found["index"]) == (
        "not finished",
        "stale",
        "intact",
    )
    assert cairn("verify", tiny.run).status == 0


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    end = cairn("verify", tmp_path)
    assert (end.status, end.err) == (
        1,
        f"error: no run in {tmp_path}; name the folder of a run: cairn verify RUN\n",
    )


def test_what_others_were_made_from_is_missed(tiny: Tiny) -> None:
    shutil.rmtree(tiny.run / "index")
    (tiny.run / "model" / "manifest.json").unlink()
    end = cairn("verify", tiny.run)
    assert end.status == 1
    found = states(tiny.run)
    assert (found["index"], found["model"], found["decision"]) == ("missing", "missing", "intact")
    for folder, what, stage in (
        ("index", "is missing", "index"),
        ("model", "has no manifest", "train"),
    ):
        assert (
            f"{tiny.run / folder} {what}, and others were made from it; make it anew: cairn "
            f"{stage} --redo --run {tiny.run}"
        ) in end.out
    assert "2 damaged or missing" in end.out


def test_a_split_called_index_is_not_the_index(fresh: Tiny) -> None:
    shutil.copy(fresh.data / "train.csv", fresh.data / "index.csv")
    assert fresh.submit().status == 0
    found = states(fresh.run)
    assert {found[name] for name in ("embeddings/index", "features/index", "index")} == {"intact"}
    shutil.rmtree(fresh.run / "embeddings" / "index")
    assert states(fresh.run)["embeddings/index"] == "missing"
