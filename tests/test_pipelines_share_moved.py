"""A run answers the same where its dataset was moved, and where all that made it is gone."""

import json
import shutil
from pathlib import Path

from tests.conftest import Tiny
from tests.datasets import cairn, make_dataset, make_recipe_file, query_json


def test_a_dataset_that_was_moved_is_asked_for_and_named(finished: Tiny, tmp_path: Path) -> None:
    tiny = finished.copy_to(tmp_path)
    photo = tiny.data / "images" / "q0.jpg"
    before, page = query_json(tiny.run, photo), tmp_path / "page.html"
    data = Path(shutil.move(tiny.data, tmp_path / "moved"))
    run = Path(shutil.move(tiny.run, tmp_path / "also"))
    photo = data / "images" / "q0.jpg"
    answer = query_json(run, photo, "--html", page)
    assert answer.replace(str(data), str(tiny.data)) == before
    alone = page.read_text()
    assert query_json(run, photo, "--data", data, "--html", page) == answer
    assert len(page.read_text()) > len(alone)  # its photos are there
    for command in (("evaluate", "--run", run), ("report", run), ("ablate", run)):
        end = cairn(*command)
        assert end.status == 1 and f"no dataset folder at {tiny.data}" in end.err
        assert "--data" in end.err
        assert cairn(*command, "--data", data).status == 0
    assert cairn("landmarks", "--run", run).status == 0
    shutil.rmtree(data / "images")
    assert cairn("report", run, "--data", data).status == 0


ENSEMBLE = """
[train]
epochs = 0

[decide]
max_overlap = 1.0

[embed.regions]
grids = [2]

[rerank]
method = "none"

[ensemble.members.small]

[ensemble.members.other.embed]
flip = true
"""


def test_an_ensemble_whose_answers_say_where_is_the_same_elsewhere(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "old" / "data")
    recipe = make_recipe_file(tmp_path / "old" / "tiny.toml", ENSEMBLE)
    tiny = Tiny(data, recipe, tmp_path / "old" / "run")
    assert cairn("index", *tiny.options).status == 0
    asked = Path(shutil.copy(data / "images" / "q0.jpg", tmp_path))
    before = query_json(tiny.run, asked)
    assert any(near["box"] for near in json.loads(before)["neighbors"])
    end = cairn("pack", tiny.run, tmp_path / "run.zip")
    assert end.status == 0, end.err
    shutil.rmtree(tmp_path / "old")
    run = tmp_path / "new"
    assert cairn("unpack", tmp_path / "run.zip", run).status == 0
    assert (run / "model").readlink() == Path("members/small/model")
    assert query_json(run, asked) == before
    checked = cairn("verify", run)
    assert checked.status == 0, checked.out
    assert "nothing was measured" in (run / "README.md").read_text()
