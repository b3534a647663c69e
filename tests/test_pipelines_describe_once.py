"""A photo is described the same whoever asks, and no network, hash or decoding is done twice."""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from embed import decode
from embed.backbone import BackboneSpec
from embed.decode import DecodedImage
from embed.images import ImageLoader
from embed.model import DescriptorModel, ModelSpec
from embed.views import Views
from pipelines.answers import describer as describer_module
from pipelines.answers import stored_model
from pipelines.answers.describer import load_describer
from pipelines.answers.extractors import build_extractor
from pipelines.answers.open_run import load_split_embeddings, open_features
from pipelines.recognizer import Recognizer
from pipelines.runs import integrity
from pipelines.runs.decoding import decode_side
from pipelines.runs.recipe import Recipe, load_recipe, make_recipe
from pipelines.runs.recipe_files import list_recipes
from rerank.delf import extractor as delf_extractor
from rerank.features import FeatureExtractor, LocalFeatures
from tests.conftest import Tiny
from tests.datasets import DELF, cairn, make_recipe_file, texture

VIEWS = "[embed]\nscales = [0.5, 1.0, 3.4]\nflip = true\n"  # of 32 pixels: larger than SIFT's 96
FITTED = "[embed]\nsquare = 'fit'\nscales = [0.5, 2.0]\nbatch_size = 2\n"
# Photos and how they are stored: EXIF turns a photo on its side upright.
SIZES = {"q0": (400, 300, 1), "q1": (20, 24, 1), "q2": (410, 290, 6), "q3": (30, 18, 8)}


def write_odd_photos(data: Path) -> None:
    """Write photos that are larger and smaller than all views, some of them turned by EXIF."""
    for seed, (name, (width, height, orientation)) in enumerate(SIZES.items()):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(texture(seed)).resize((width, height))
        image.save(data / "images" / f"{name}.jpg", quality=90, exif=exif)


@pytest.fixture(
    scope="module",
    params=["", VIEWS, DELF, VIEWS.replace(", 3.4", "") + DELF, FITTED, FITTED + DELF],
    ids=[
        *("sift", "sift, several views", "delf", "delf, several views"),
        *("sift, fitted", "delf, fitted"),
    ],
)
def asked(
    request: pytest.FixtureRequest, finished: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Tiny:
    """Return a finished run, on the model of `finished`, that was asked for odd photos."""
    folder = tmp_path_factory.mktemp("asked")
    shutil.copytree(finished.data, folder / "data")
    shutil.copytree(finished.run / "model", folder / "run" / "model", symlinks=True)
    write_odd_photos(folder / "data")
    recipe = make_recipe_file(folder / "tiny.toml", request.param)
    tiny = Tiny(folder / "data", recipe, folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


def test_a_query_is_described_as_by_embed_and_features(asked: Tiny) -> None:
    recipe = load_recipe(str(asked.recipe))
    describer = load_describer(asked.run, recipe)
    stored, store = (
        load_split_embeddings(asked.run, "test"),
        open_features(asked.run, "test", recipe),
    )
    assert store is not None
    for row, name in enumerate(stored.ids):
        image = describer.decode(asked.data / "images" / f"{name}.jpg")
        embeddings, (features,) = describer.describe([image], [name])
        # A batch of one is summed in another order than one of four: the last bits may differ.
        np.testing.assert_allclose(embeddings.vectors[0], stored.vectors[row], atol=1e-6)
        expected = store.get(name)
        assert expected is not None and features is not None
        assert features.image_size == expected.image_size
        np.testing.assert_allclose(features.scores, expected.scores, rtol=1e-5)
        for array in ("keypoints", "scales"):
            np.testing.assert_allclose(
                getattr(features, array), getattr(expected, array), rtol=1e-6
            )
        # DELF's are of 16 bits, in which the last bit is 1e-3 of a value.
        atol = 1e-6 if recipe.rerank.method == "sift" else 1e-3
        first, second = (found.descriptors.astype(np.float32) for found in (features, expected))
        np.testing.assert_allclose(first, second, atol=atol)


def test_descriptors_are_there_while_local_features_are_still_looked_for(finished: Tiny) -> None:
    loaded = load_describer(finished.run, load_recipe(str(finished.recipe)))
    looked = threading.Event()

    class Slow:
        """Finds features once it may, or fails."""

        batch_size = 2

        def extract_batch(self, images: Sequence[DecodedImage]) -> list[LocalFeatures]:
            assert looked.wait(20)
            raise RuntimeError("no features")

    describer = replace(loaded, extractor=cast(FeatureExtractor, Slow()))
    image = describer.decode(next((finished.data / "images").glob("*.jpg")))
    embeddings, features = describer.describe([image], ["one"])
    assert len(embeddings.vectors) == len(features) == 1
    looked.set()
    with pytest.raises(RuntimeError, match="no features"):
        features[0]


def test_a_forked_process_finds_features_in_a_thread_of_its_own() -> None:
    assert describer_module._beside().submit(lambda: 1).result() == 1
    if not (child := os.fork()):
        os._exit(describer_module._beside.cache_info().currsize)
    assert os.waitpid(child, 0)[1] == 0 and describer_module._beside.cache_info().currsize == 1


class Counts:
    """Counts what is called, by what it was called for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start from a process that has loaded nothing yet, and remembers no hash."""
        self.monkeypatch, self.of = monkeypatch, Counter[str]()
        for cached in (stored_model._load_model, stored_model._load_delf, stored_model._load_head):
            cached.cache_clear()
        integrity.forget_hashes()
        monkeypatch.setattr(integrity, "SETTLED", -1.0)  # as of a run that was not made just now
        self.count(stored_model, "load_model", lambda folder, **_: "load model")
        self.count(stored_model, "load_delf", lambda *_, **__: "load delf")
        self.count(integrity, "hash_file", lambda path: f"hash {path.name}")
        self.count(delf_extractor, "fingerprint_model", lambda model: "hash model.safetensors")
        self.count(delf_extractor, "fingerprint_delf", lambda local: "hash delf.safetensors")
        self.count(decode, "_reader", lambda data: "decode")

    def count(self, module: Any, name: str, label: Callable[..., str]) -> None:
        """Count the calls of a function of a module."""
        called = getattr(module, name)

        def count_call(*arguments: Any, **options: Any) -> Any:
            self.of[label(*arguments, **options)] += 1
            return called(*arguments, **options)

        self.monkeypatch.setattr(module, name, count_call)


def test_a_query_loads_and_hashes_a_model_once_and_decodes_a_photo_once(
    asked: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts(monkeypatch)
    engine = Recognizer.load(asked.run)
    delf = int(engine.opened.recipe.rerank.method == "delf")
    assert "decode" not in counts.of
    assert engine.recognize(asked.data / "images" / "q0.jpg").error == ""
    assert counts.of["decode"] == 1
    assert (counts.of["load model"], counts.of["hash model.safetensors"]) == (1, 1)
    assert (counts.of["load delf"], counts.of["hash delf.safetensors"]) == (delf, delf)


def test_embeddings_and_features_of_all_splits_share_one_model(
    asked: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(asked.run, run)
    for folder in ("embeddings", "features", "index", "decision"):
        shutil.rmtree(run / folder)
    counts = Counts(monkeypatch)
    delf = int(load_recipe(str(asked.recipe)).rerank.method == "delf")
    assert Tiny(asked.data, asked.recipe, run).submit().status == 0
    assert (counts.of["load model"], counts.of["hash model.safetensors"]) == (1, 1)
    assert (counts.of["load delf"], counts.of["hash delf.safetensors"]) == (delf, delf)


def test_nothing_is_loaded_where_nothing_is_missing(
    asked: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts(monkeypatch)
    assert asked.submit().status == 0
    assert counts.of["load model"] == counts.of["load delf"] == 0


def test_a_model_that_is_another_now_is_loaded_anew(asked: Tiny, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(asked.run / "model", run / "model")
    first, _ = stored_model.open_model(run)
    assert stored_model.open_model(run)[0] is first
    path = run / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        stored_model.open_model(run)
    assert cairn("query", asked.data / "images" / "q0.jpg", "--run", run).status == 1


@pytest.mark.parametrize("name", [name for name in list_recipes() if name != "report"])
def test_photos_are_decoded_large_enough_for_every_use(name: str) -> None:
    recipe = load_recipe(name)
    for method in ("none", "sift", "delf"):
        changed = make_recipe({**recipe.model_dump(), "rerank": {"method": method}}, name)
        assert decode_side(changed) >= recipe.train.image_size
        if method == "sift":
            assert decode_side(changed) >= build_extractor(Path(), changed.rerank).min_side


@pytest.mark.parametrize("scales", [(1.0,), (0.7, 1.0, 1.4142), (0.5,), (3.3,)])
@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_the_recipe_knows_what_fitted_images_are_decoded_for(
    architecture: str, scales: tuple[float, ...]
) -> None:
    values = {"image_size": 64, "backbone": architecture}
    embed = {"scales": scales, "square": "fit"}
    recipe = Recipe.model_validate({"train": values, "embed": embed, "rerank": {"method": "none"}})
    model = DescriptorModel(ModelSpec(BackboneSpec(architecture), 64, 8))
    side, cell = Views(scales=scales).input_side(model), model.backbone.stride
    needed = ImageLoader(side, 1, "fit", cell).needed_side
    assert needed <= decode_side(recipe) <= needed + 64


@pytest.mark.parametrize("scales", [(1.0,), (0.7, 1.0, 1.4142), (0.5,), (3.3,)])
@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_the_recipe_knows_the_side_of_views(architecture: str, scales: tuple[float, ...]) -> None:
    values = {"image_size": 64, "backbone": architecture}
    recipe = Recipe.model_validate(
        {"train": values, "embed": {"scales": scales}, "rerank": {"method": "none"}}
    )
    model = DescriptorModel(ModelSpec(BackboneSpec(architecture), 64, 8))
    needed = Views(scales=scales).input_side(model)
    assert needed <= decode_side(recipe) <= needed + 64
    assert decode_side(recipe) == needed or scales != (1.0,)


def test_members_of_any_size_are_decoded_alike() -> None:
    values: dict[str, Any] = {
        "train": {"image_size": 64},
        "rerank": {"method": "none"},
        "ensemble": {"members": {"small": {}, "large": {"train": {"image_size": 160}}}},
    }
    assert decode_side(make_recipe(values, "two")) == 160
