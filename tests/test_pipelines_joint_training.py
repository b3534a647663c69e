"""A run whose DELF is trained along with the model: what it gives, and what it leaves as it was."""

import csv
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embed.model import DescriptorModel
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.stages.order import Order
from pipelines.stages.validation import Validation
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, PHOTOS, QUERIES, make_job, make_recipe_file, results

ALONG = """
[train]
local_weight = 4.0
[rerank]
method = "delf"
[rerank.delf]
stride = 4
hidden = 16
dim = 16
reduction = "autoencoder"
scales = [1.0, 2.0]
max_features = 60
score_threshold = 0.0
"""
PCA = ALONG.replace("autoencoder", "pca")


@pytest.fixture(scope="module")
def joint(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run with DELF that was trained along."""
    folder = tmp_path_factory.mktemp("joint")
    tiny = Tiny(finished.data, make_recipe_file(folder / "tiny.toml", ALONG), folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


@pytest.fixture(scope="module")
def fitted(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a run that ends with DELF and whose descriptors are shortened by PCA."""
    folder = tmp_path_factory.mktemp("fitted")
    tiny = Tiny(finished.data, make_recipe_file(folder / "tiny.toml", PCA), folder / "run")
    Order(make_job(tiny.data, tiny.run, tiny.recipe)).delf()
    return tiny


def copy(tiny: Tiny, folder: Path, changes: str) -> Tiny:
    shutil.copytree(tiny.run, folder / "run")
    return Tiny(tiny.data, make_recipe_file(folder / "tiny.toml", changes), folder / "run")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_candidates_are_verified_by_what_was_trained_along(joint: Tiny) -> None:
    manifest = load_manifest(joint.run / "delf")
    assert manifest is not None
    assert manifest.counts["written"] == LANDMARKS * PHOTOS
    found = pq.read_table(joint.run / "verified.parquet")
    assert found.num_rows == len(QUERIES) * LANDMARKS * PHOTOS
    assert max(found["inliers"].to_pylist()) > 4
    assert len((joint.run / "submission.csv").read_text().splitlines()) == 1 + len(QUERIES)
    answer = Recognizer.load(joint.run).recognize(joint.data / "images" / "q0.jpg")
    assert any(match.inliers for match in answer.neighbors)


def test_with_dolg_a_query_is_described_as_its_database_in_the_pass_of_delf(
    finished: Tiny, tmp_path: Path
) -> None:
    dolg = PCA.replace(
        "[rerank]", '[train.pooling]\nkind = "dolg"\nwidth = 8\ndilations = [1, 2]\n[rerank]', 1
    )
    tiny = Tiny(finished.data, make_recipe_file(tmp_path / "tiny.toml", dolg), tmp_path / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    with (finished.data / "train.csv").open() as file:
        image_id = next(csv.DictReader(file))["id"]
    answer = Recognizer.load(tiny.run).recognize(finished.data / "images" / f"{image_id}.jpg")
    first = answer.neighbors[0]
    assert first.image_id == image_id and first.similarity == pytest.approx(1, abs=1e-5)


def test_the_model_and_its_head_are_those_of_a_training_without(
    joint: Tiny, finished: Tiny
) -> None:
    for name in ("model.safetensors", "head.safetensors"):
        along, without = joint.run / "model" / name, finished.run / "model" / name
        assert along.read_bytes() == without.read_bytes()


def test_a_run_without_knows_nothing_of_it(joint: Tiny, finished: Tiny) -> None:
    along, without = load_manifest(joint.run / "model"), load_manifest(finished.run / "model")
    assert along is not None and without is not None
    assert set(along.settings) - set(without.settings) == {"delf"}
    same = {**along.settings["train"], "local_weight": 0.0}
    assert same == without.settings["train"]
    names = [{record.name for record in manifest.outputs} for manifest in (along, without)]
    assert names[0] - names[1] == {"local.safetensors"}
    assert not (finished.run / "model" / "local.safetensors").exists()


def test_the_loss_of_each_epoch_is_on_record(joint: Tiny) -> None:
    model, delf = (rows_of(joint.run / name / "history.csv") for name in ("model", "delf"))
    assert [float(row["epoch"]) for row in delf] == [1, 2]
    losses = [float(row["loss"]) for row in delf]
    assert losses == [float(row["local_loss"]) for row in model]
    assert losses[1] < losses[0]


def test_the_same_again_does_nothing(joint: Tiny) -> None:
    files = [path for path in joint.run.rglob("*.*") if path.parent.name in ("model", "delf")]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert joint.submit().status == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_an_interrupted_training_ends_with_the_same_bits(
    joint: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = Validation.score, []

    def stop(self: Validation, model: DescriptorModel) -> dict[str, float]:
        calls.append(model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return score(self, model)

    monkeypatch.setattr(Validation, "score", stop)
    job = make_job(joint.data, tmp_path / "run", joint.recipe)
    with pytest.raises(KeyboardInterrupt):
        Order(job).delf()
    assert list((tmp_path / "run" / "model").glob("checkpoint-*.pt"))
    Order(job).delf()
    assert len(calls) == 3
    whole = {name: digest for name, digest in results(joint.run).items() if "curves" not in name}
    for name, digest in results(job.run).items():
        if name.startswith(("model/", "delf/")) and "curves" not in name:
            assert whole[name] == digest, name


def test_another_dim_of_the_pca_leaves_the_model_as_it_is(fitted: Tiny, tmp_path: Path) -> None:
    other = copy(fitted, tmp_path, PCA.replace("dim = 16", "dim = 9"))
    before = (other.run / "model" / "manifest.json").stat().st_mtime_ns
    Order(make_job(other.data, other.run, other.recipe)).delf()
    assert (other.run / "model" / "manifest.json").stat().st_mtime_ns == before
    assert json.loads((other.run / "delf" / "delf.json").read_text())["spec"]["dim"] == 9


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [("hidden = 16", "hidden = 8", "delf.hidden"), ("4.0", "0.0", "train.local_weight")],
)
def test_what_is_trained_along_otherwise_needs_another_training(
    fitted: Tiny, tmp_path: Path, old: str, new: str, name: str
) -> None:
    other = copy(fitted, tmp_path, PCA.replace(old, new))
    with pytest.raises(ValueError, match=rf"trained with other .*{name}"):
        Order(make_job(other.data, other.run, other.recipe)).model()


def test_a_model_trained_anew_without_keeps_nothing_of_it(fitted: Tiny, tmp_path: Path) -> None:
    other = copy(fitted, tmp_path, PCA.replace("4.0", "0.0\nepochs = 1"))
    manifest = Order(make_job(other.data, other.run, other.recipe), {"train"}).model()
    assert "delf" not in manifest.settings
    assert not (other.run / "model" / "local.safetensors").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('method = "delf"', 'method = "sift"', "rerank.method = 'sift' has no use for it"),
        ("[train]", "[train]\nepochs = 0", "train.epochs = 0 trains nothing"),
    ],
)
def test_training_along_for_nothing_is_refused(
    fitted: Tiny, tmp_path: Path, old: str, new: str, message: str
) -> None:
    recipe = make_recipe_file(tmp_path / "tiny.toml", PCA.replace(old, new))
    with pytest.raises(ValueError, match=message):
        Order(make_job(fitted.data, tmp_path / "run", recipe)).model()
    assert not (tmp_path / "run" / "model").exists()


def test_too_few_descriptors_end_before_training_along(finished: Tiny, tmp_path: Path) -> None:
    changes = PCA.replace("stride = 4", "stride = 32").replace("dim = 16", "dim = 64")
    recipe = make_recipe_file(tmp_path / "tiny.toml", changes)
    with pytest.raises(ValueError, match=r"local descriptors are too few for 64 principal"):
        Order(make_job(finished.data, tmp_path / "run", recipe)).model()
    assert not list((tmp_path / "run" / "model").glob("checkpoint-*"))


def test_an_ensemble_has_the_local_features_of_its_first_member(
    finished: Tiny, tmp_path: Path
) -> None:
    members = "[ensemble.members.one.train]\nlocal_weight = 1.0\n[ensemble.members.two]\n"
    recipe = make_recipe_file(
        tmp_path / "tiny.toml", PCA.replace("4.0", "0.0\nepochs = 1") + members
    )
    job = make_job(finished.data, tmp_path / "run", recipe)
    Order(job).delf()
    found = [(job.run / "members" / name / "model") for name in ("one", "two")]
    assert [(folder / "local.safetensors").is_file() for folder in found] == [True, False]
    delf = json.loads((job.run / "delf" / "delf.json").read_text())
    first = json.loads((found[0] / "model.json").read_text())["fingerprint"]
    assert delf["spec"]["model_fingerprint"] == first
    assert len(rows_of(job.run / "delf" / "history.csv")) == 1
