"""Runs of all kinds grow alike, and end where the way through the dataset does."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from classify_head.evidence import Evidence
from pipelines.recognizer import Recognizer
from pipelines.stages.compact import compact
from tests.conftest import Tiny
from tests.datasets import DELF, cairn, make_recipe_file, options
from tests.journal import open_run, write_views
from tests.test_imports import ROOT

MILL = 50
ENSEMBLE = """
[ensemble]
rule = "mean"
[ensemble.members.small]
[ensemble.members.other.train]
backbone = "test_vit"
head.kind = "linear"
"""
KINDS = {
    "whitening": "[search]\nwhiten = 'within-class'\n",
    "regions": "[embed.regions]\ngrids = [2]\n",
    "ensemble": ENSEMBLE,
    "delf": DELF,
    "without re-ranking": "[rerank]\nmethod = 'none'\n",
    "graph": "[embed]\nengine = 'openvino'\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_kind_grow_and_shrink(kind: str, fresh: Tiny, tmp_path: Path) -> None:
    if kind == "graph":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    changes = KINDS[kind] if kind == "delf" else f"[train]\nepochs = 0\n{KINDS[kind]}"
    recipe = make_recipe_file(tmp_path / "kind.toml", changes)
    end = cairn("index", *options(fresh.data, fresh.run, recipe))
    assert end.status == 0, end.err
    photos = write_views(tmp_path / "mill", MILL, range(3))
    asked = photos[0]
    engine = Recognizer.load(fresh.run)
    before = engine.recognize(asked, neighbors=30)
    words = ["add", *map(str, photos), "--run", str(fresh.run), "--name", "Mill"]
    code = (
        "import sys; from pipelines.cli import app\napp(sys.argv[1:], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    if kind == "graph":  # photos are described without torch
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines()[-1] == "False", done.stderr
    else:
        assert cairn(*words).status == 0
    answer = engine.recognize(asked, neighbors=30)
    (near,) = (each for each in answer.neighbors if each.image_id == "mill-0")
    assert near.rank == 0 and near.similarity == pytest.approx(1, abs=2e-3)
    assert near.verified == (kind != "without re-ranking")
    assert cairn("remove", "--run", fresh.run, "--image", "mill-1").status == 0
    answer = engine.recognize(asked, neighbors=30)
    assert compact(open_run(fresh.run))
    assert (
        engine.recognize(asked, neighbors=30)
        == answer
        == Recognizer.load(fresh.run).recognize(asked, neighbors=30)
    )
    assert cairn("remove", "--run", fresh.run, "--label", 6).status == 0
    assert engine.recognize(asked, neighbors=30) == before


@dataclass(frozen=True)
class Seen:
    """What a run finds for a photo."""

    ids: list[str]
    evidence: Evidence


def look(run: Path, photo: Path) -> Seen:
    engine = Recognizer.load(run)
    describer = engine.opened.describer
    query, (features,) = describer.describe([describer.decode(photo)], ["photo"])
    found, evidence = engine.opened.retriever.gather(query, lambda row: features)
    rows = found.rows[0][found.rows[0] >= 0]
    return Seen(engine.opened.retriever.database.rows.ids(rows).to_pylist(), evidence)


def test_adding_ends_where_the_dataset_ends(tmp_path: Path) -> None:
    """The same ids, labels, neighbours and evidence, whichever way the photos came."""
    source, data, run = tmp_path / "photos", tmp_path / "data", tmp_path / "run"
    for landmark in range(4):
        write_views(source / f"thing {landmark}", landmark, range(4))
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[train]\nepochs = 1\n")
    words = ["data", "folders", source, "--data", data, "--test-every", 0]
    assert cairn(*words).status == 0
    assert cairn("index", *options(data, run, recipe)).status == 0
    shutil.copytree(run, tmp_path / "other")
    write_views(source / "mill", MILL, range(3))
    write_views(source / "thing 1", 1, [7])
    for new in ("mill/0.jpg", "mill/1.jpg", "mill/2.jpg", "thing 1/7.jpg"):
        copy = tmp_path / "new" / new
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / new, copy)
    end = cairn("add", tmp_path / "new", "--run", run)
    assert end.status == 0, end.err
    assert cairn(*words, "--keep-training").status == 0
    assert cairn("index", *options(data, tmp_path / "other", recipe)).status == 0
    for landmark in (MILL, 1):
        asked = write_views(tmp_path / "asked", landmark, [20])[0]
        added, indexed = look(run, asked), look(tmp_path / "other", asked)
        assert len(added.ids) == 20 and set(added.ids) == set(indexed.ids)
        # Equal but for what float16 rounds: the order may differ only between equals.
        by_id = [np.argsort(seen.ids) for seen in (added, indexed)]
        for name in ("labels", "similarities", "inliers", "residuals", "overlaps", "sizes"):
            one, other = (
                seen.evidence.arrays[name][0][: len(order)][order]
                for seen, order in zip((added, indexed), by_id, strict=True)
            )
            tolerance = 1e-3 if name == "similarities" else 0
            np.testing.assert_allclose(one, other, atol=tolerance, rtol=0, err_msg=name)
    # The dataset has them, too, by now: each photo is there once.
    assert cairn("index", *options(data, run, recipe)).status == 0
    assert look(run, asked).ids == added.ids
