"""Each stage once, in the order of what needs what, and nothing twice of a finished run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.artifacts import load_manifest
from pipelines.datasets.dataset import TABLES
from pipelines.stages.order import Order
from tests.conftest import Tiny
from tests.datasets import cairn, make_job, make_recipe_file, results

ROOT = Path(__file__).resolve().parents[1]
# Print which files the command opens, how often, and what it imports that takes long.
COUNTED = """
import collections, json, os, sys
opened = collections.Counter()

def count(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        opened[os.fsdecode(arguments[0])] += 1

sys.addaudithook(count)
sys.argv = ["cairn", *sys.argv[2:]]
out, sys.stdout = sys.stdout, sys.stderr
from pipelines import cli
try:
    cli.run_command()
finally:
    heavy = [name for name in ("torch", "timm", "faiss", "pandas") if name in sys.modules]
    print(json.dumps([opened, heavy]), file=out)
"""


def count_opens(*arguments: str) -> tuple[dict[str, int], list[str]]:
    """Return how often a command opens each file, and which libraries it loads."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, "-", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    opened, heavy = json.loads(done.stdout)
    return opened, heavy


@pytest.mark.parametrize("method", ["sift", "none"])
def test_a_finished_run_opens_each_table_once_and_loads_nothing(method: str, tiny: Tiny) -> None:
    if method == "none":
        make_recipe_file(tiny.recipe, '[rerank]\nmethod = "none"\n')
        assert tiny.submit().status == 0
    before = results(tiny.run)
    opened, heavy = count_opens("submit", "--run", str(tiny.run), "--data", str(tiny.data))
    assert results(tiny.run) == before
    tables = {f"{name}.csv" for name in TABLES if (tiny.data / f"{name}.csv").is_file()}
    of_data = {path: n for path, n in opened.items() if Path(path).is_relative_to(tiny.data)}
    assert of_data == {str(tiny.data / name): 1 for name in tables}  # and so no image
    assert heavy == []  # without torch no model is loaded, without faiss no index


def test_each_table_is_read_once_where_all_is_made(fresh: Tiny) -> None:
    opened, _ = count_opens("submit", *fresh.options)
    tables = {name: n for name, n in opened.items() if Path(name).parent == fresh.data}
    assert set(tables.values()) == {1}


def test_each_artifact_is_looked_for_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Path] = []

    def find(artifact: object) -> object:
        folder = artifact.folder  # type: ignore[attr-defined]
        found.append(folder.relative_to(tiny.run))
        return load_manifest(folder)

    monkeypatch.setattr("pipelines.runs.artifact.Artifact.find", find)
    Order(make_job(tiny.data, tiny.run, tiny.recipe)).submission()
    splits = [f"{kind}/{split}" for kind in ("embeddings", "features") for split in
              ("train", "non_landmark", "test")]  # fmt: skip
    assert sorted(map(str, found)) == sorted(["model", "index", "decision", "submit", *splits])


def test_what_is_done_again_is_that_stage_alone_and_goes_on_from_nothing(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name, stage in (("train.train", "train"), ("embed.embed_table", "embed")):
        module, function = name.split(".")
        monkeypatch.setattr(f"pipelines.stages.{module}.{function}", _refuse(made, stage))
    job = make_job(tiny.data, tiny.run, tiny.recipe)
    with pytest.raises(KeyboardInterrupt):
        Order(job, {"embed"}).embeddings("test")
    folder = tiny.run / "embeddings" / "test"
    assert made == ["embed"]
    assert not list(folder.glob("part-*")) and load_manifest(folder) is None


def _refuse(made: list[str], stage: str) -> object:
    def make(*_: object) -> None:
        made.append(stage)
        raise KeyboardInterrupt

    return make


def test_a_dataset_of_a_known_run_is_checked_before_anything_is_made(tiny: Tiny) -> None:
    before = results(tiny.run)
    table = tiny.data / "test.csv"
    table.write_text(table.read_text() + "thing0-0\n")
    end = cairn("submit", *tiny.options)
    assert end.status == 1
    assert "an image is either a query or known" in end.err
    assert results(tiny.run) == before
