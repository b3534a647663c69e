"""Tests of published DELF models, on tiny SavedModels that TensorFlow itself makes and loads.

Each stands in for a network, not for the signature, resizing and coordinates around it: at every
image scale it "detects" one feature, the centroid of the brightness.
"""

import builtins
import pickle
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from embed.decode import DecodedImage
from embed.errors import InputError
from rerank.delf.hub import RECEPTIVE_FIELD, HubDelf
from rerank.delf.hub_model import import_tensorflow
from rerank.features import FeatureExtractor, LocalFeatures

SCALES = (0.25, 0.5, 1.0, 2.0)
Resize = Callable[[Any, Any], Any]


def _detect(image: Any, scales: Any, weight: Any, resize: Resize) -> tuple[Any, Any, Any]:
    """Return locations [S, 2] (y, x), scores [S] and descriptors [S, 3], one row a scale.

    Locations are those of the resized image divided by its scale, as in the published graphs.
    Scores are 100 * scale * weight; descriptors (weight, scale, brightest value).
    """
    tf, _ = import_tensorflow()
    size = tf.cast(tf.shape(image)[:2], tf.float32)

    def centroid(scale: Any) -> Any:
        resized = resize(image[None], tf.cast(tf.round(size * scale), tf.int32))
        gray = tf.reduce_mean(resized[0], axis=2)
        rows, columns = tf.reduce_sum(gray, axis=1), tf.reduce_sum(gray, axis=0)
        points = [
            tf.reduce_sum(part * tf.cast(tf.range(tf.shape(part)[0]), tf.float32))
            / tf.reduce_sum(part)
            for part in (rows, columns)
        ]
        return tf.stack(points) / scale

    locations = tf.map_fn(centroid, scales)
    weights = tf.fill(tf.shape(scales), weight)
    brightest = tf.fill(tf.shape(scales), tf.reduce_max(image))
    return locations, 100 * scales * weight, tf.stack([weights, scales, brightest], axis=1)


def _save_module(folder: Path, *extra: str, weight: float = 1.0) -> Path:
    """Write a module in the format of google/delf/1, with these outputs beyond its documented."""
    tf, _ = import_tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = {
            "image": v1.placeholder(tf.float32, [None, None, 3]),
            "image_scales": v1.placeholder(tf.float32, [None]),
            "score_threshold": v1.placeholder(tf.float32, []),
            "max_feature_num": v1.placeholder(tf.int32, []),
        }
        scales = inputs["image_scales"]
        variable = v1.get_variable("weight", initializer=weight, use_resource=False)
        locations, scores, descriptors = _detect(
            inputs["image"], scales, variable, v1.image.resize_bilinear
        )
        rows = tf.where(scores >= inputs["score_threshold"])[: inputs["max_feature_num"], 0]
        named = {"locations": locations, "descriptors": descriptors}
        named |= {"scales": 1 / scales, "attention": scores} if extra else {}
        outputs = {name: tf.gather(value, rows) for name, value in named.items()}
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def(inputs, outputs)
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


def _save_export(folder: Path, *, weight: float = 1.0, with_global: bool = False) -> Path:
    """Write a model as export_local_model.py or export_local_and_global_model.py does."""
    tf, _ = import_tensorflow()
    module = tf.Module()
    module.weight = tf.Variable(weight)
    specs = [
        tf.TensorSpec([None, None, 3], tf.uint8, "input_image"),
        tf.TensorSpec([None], tf.float32, "input_scales"),
        tf.TensorSpec([], tf.int32, "input_max_feature_num"),
        tf.TensorSpec([], tf.float32, "input_abs_thres"),
    ]

    def local(
        input_image: Any, input_scales: Any, input_max_feature_num: Any, input_abs_thres: Any
    ) -> dict[str, Any]:
        image = tf.cast(input_image, tf.float32)
        centres, scores, descriptors = _detect(image, input_scales, module.weight, tf.image.resize)
        half = 145 / input_scales[:, None]
        rows = tf.where(scores >= input_abs_thres)[:input_max_feature_num, 0]
        outputs = {
            "boxes": tf.concat([centres - half, centres + half], axis=1),
            "features": descriptors,
            "scales": 1 / input_scales,
            "scores": scores[:, None],
        }
        return {name: tf.gather(value, rows) for name, value in outputs.items()}

    def local_and_global(
        input_image: Any,
        input_scales: Any,
        input_max_feature_num: Any,
        input_abs_thres: Any,
        input_global_scales_ind: Any,
    ) -> dict[str, Any]:
        outputs = local(input_image, input_scales, input_max_feature_num, input_abs_thres)
        described = tf.gather(input_scales, input_global_scales_ind)[:1]
        return {**outputs, "global_descriptors": described}

    if with_global:
        specs.append(tf.TensorSpec([None], tf.int32, "input_global_scales_ind"))
    function = local_and_global if with_global else local
    module.extract = tf.function(function, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the folders of one model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "module": str(_save_module(folder / "module", "scales", "attention")),
        "bare module": str(_save_module(folder / "bare")),
        "export": str(_save_export(folder / "export")),
        "global export": str(_save_export(folder / "global", with_global=True)),
    }


def _blob(width: int, height: int, x: float, y: float, sigma: float) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    gray = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(gray)[:, :, None], 3, axis=2).astype(np.uint8)


def _image(width: int = 96, height: int = 80) -> DecodedImage:
    return DecodedImage(_blob(width, height, 44.0, 37.0, 6.0), (width, height))


def _assert_equal(first: LocalFeatures, second: LocalFeatures) -> None:
    for name in ("keypoints", "descriptors", "scores", "scales"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


KINDS = ["module", "export", "global export"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_scale_finds_the_same_point(kind: str, models: dict[str, str]) -> None:
    # TensorFlow 1 and 2 resize by half a pixel differently: 1.5 pixels of the image at scale .25.
    extractor = HubDelf(models[kind], image_scales=SCALES, score_threshold=0.0)
    features = extractor.extract(_image())
    np.testing.assert_allclose(features.keypoints, [[44.0, 37.0]] * 4, atol=0.05)
    assert features.image_size == (96, 80)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("max_side", [1024, 100])
def test_keypoints_and_scales_are_in_pixels_of_the_original(
    kind: str, max_side: int, models: dict[str, str]
) -> None:
    # Decoded at half size: pixel c of the original lies at (c + 0.5) / 2 - 0.5.
    x, y = 161.0, 130.0
    pixels = _blob(200, 160, (x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5, 12.0)
    extractor = HubDelf(models[kind], image_scales=SCALES, score_threshold=0.0, max_side=max_side)
    features = extractor.extract(DecodedImage(pixels, (400, 320)))
    np.testing.assert_allclose(features.keypoints, [[x, y]] * 4, atol=0.1)
    shown = min(200, max_side)
    expected = RECEPTIVE_FIELD / np.array(SCALES[::-1]) * 400 / shown
    np.testing.assert_allclose(features.scales, expected, rtol=1e-6)
    assert features.image_size == (400, 320)


@pytest.mark.parametrize("kind", KINDS)
def test_the_strongest_features_come_first(kind: str, models: dict[str, str]) -> None:
    extractor = HubDelf(models[kind], image_scales=(1.0, 0.5, 2.0), score_threshold=0.0)
    features = extractor.extract(_image())
    np.testing.assert_allclose(features.scores, [200, 100, 50])
    np.testing.assert_allclose(features.descriptors[:, 1], [2.0, 1.0, 0.5])
    assert features.descriptors.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_threshold_and_limit_reach_the_model(kind: str, models: dict[str, str]) -> None:
    extract = HubDelf(models[kind], image_scales=SCALES, score_threshold=50.0).extract
    np.testing.assert_allclose(extract(_image()).scores, [200, 100, 50])
    # The model keeps its first two rows, at scales .25 and .5.
    extract = HubDelf(models[kind], (*SCALES,), max_features=2, score_threshold=0.0).extract
    np.testing.assert_allclose(extract(_image()).scores, [50, 25])


@pytest.mark.parametrize("kind", [*KINDS, "bare module"])
def test_nothing_above_the_threshold_gives_no_rows(kind: str, models: dict[str, str]) -> None:
    features = HubDelf(models[kind], score_threshold=1e6).extract(_image())
    assert (features.keypoints.shape, features.descriptors.shape) == ((0, 2), (0, 3))


@pytest.mark.parametrize("shape", [(1, 1), (9, 300), (4000, 30)])
def test_image_too_small_for_the_reference_gives_no_rows(
    shape: tuple[int, int], models: dict[str, str]
) -> None:
    # 4000 x 30 pixels are 1024 x 8 when shrunk.
    image = DecodedImage(np.full((*shape, 3), 200, np.uint8), (shape[1], shape[0]))
    features = HubDelf(models["module"], score_threshold=0.0).extract(image)
    assert (features.keypoints.shape, features.descriptors.shape) == ((0, 2), (0, 3))


def test_module_is_fed_floats_up_to_one_and_the_export_bytes(models: dict[str, str]) -> None:
    module, export = (HubDelf(models[kind], (1.0,)).extract(_image()) for kind in KINDS[:2])
    np.testing.assert_array_equal(module.descriptors, [[1, 1, 1]])
    np.testing.assert_array_equal(export.descriptors, [[1, 1, 255]])


def test_module_without_scores_keeps_its_order(models: dict[str, str]) -> None:
    extractor = HubDelf(models["bare module"], image_scales=(0.5, 2.0), score_threshold=0.0)
    features = extractor.extract(_image())
    np.testing.assert_allclose(features.scores, [1, 1 / 2])
    np.testing.assert_allclose(features.descriptors[:, 1], [0.5, 2.0])
    np.testing.assert_allclose(features.scales, RECEPTIVE_FIELD)


def test_a_batch_is_its_images_one_by_one(models: dict[str, str]) -> None:
    extractor: FeatureExtractor = HubDelf(models["export"], image_scales=SCALES)
    assert (extractor.name, extractor.dim, HubDelf(models["module"]).dim) == ("delf_hub", 3, 3)
    images = [_image(), _image(120, 70)]
    delf = HubDelf(models["export"], image_scales=SCALES)
    assert delf.batch_size == 1
    for features, image in zip(delf.extract_batch(images), images, strict=True):
        _assert_equal(features, extractor.extract(image))
    assert delf.extract_batch([]) == []


def test_threads_that_share_an_extractor_find_the_same(models: dict[str, str]) -> None:
    extractor = HubDelf(models["module"], image_scales=SCALES, score_threshold=0.0)
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(extractor.extract, [_image()] * 8)
    for features in others:
        _assert_equal(features, first)


def test_a_pickled_extractor_loads_its_model_again(models: dict[str, str]) -> None:
    extractor = HubDelf(models["module"], image_scales=SCALES)
    features = extractor.extract(_image())
    copy = pickle.loads(pickle.dumps(extractor))
    assert (copy, copy.fingerprint) == (extractor, extractor.fingerprint)
    _assert_equal(copy.extract(_image()), features)


def test_the_graph_tells_the_dim_that_its_signature_leaves_open(tmp_path: Path) -> None:
    tf, _ = import_tensorflow()
    folder = _save_export(tmp_path / "known")
    module = tf.saved_model.load(str(folder))
    known = module.signatures["serving_default"]

    def unknown(**inputs: Any) -> dict[str, Any]:
        outputs = known(**inputs)
        features = outputs["features"]
        return {**outputs, "features": tf.compat.v1.placeholder_with_default(features, [None] * 2)}

    specs = known.structured_input_signature[1]
    function = tf.function(unknown, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, str(tmp_path / "open"), signatures=function)
    assert function.structured_outputs["features"].shape.as_list() == [None, None]
    assert HubDelf(str(tmp_path / "open")).dim == 3


def test_other_weights_or_settings_are_other_features(
    models: dict[str, str], tmp_path: Path
) -> None:
    first = HubDelf(models["export"])
    moved = shutil.copytree(models["export"], tmp_path / "moved")
    assert HubDelf(str(moved)).fingerprint == first.fingerprint
    graph = (moved / "saved_model.pb").read_bytes()
    heavier = _save_export(tmp_path / "heavier", weight=1.5)
    (heavier / "saved_model.pb").write_bytes(graph)
    prints = [
        first.fingerprint,
        HubDelf(str(heavier)).fingerprint,
        HubDelf(models["module"]).fingerprint,
        HubDelf(models["export"], image_scales=(1.0,)).fingerprint,
        HubDelf(models["export"], max_features=999).fingerprint,
        HubDelf(models["export"], score_threshold=99.0).fingerprint,
        HubDelf(models["export"], max_side=1023).fingerprint,
        HubDelf().fingerprint,
        HubDelf("https://tfhub.dev/google/delf/2").fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(text) == 64 for text in prints)


def test_another_signature_is_refused_by_name(tmp_path: Path) -> None:
    tf, _ = import_tensorflow()
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32, "photo")
    module.run = tf.function(lambda photo: {"label": photo}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match=r"found 'serving_default' \['photo'\] -> \['label'\]"):
        HubDelf(str(tmp_path)).extract(_image())


def test_a_model_without_signatures_is_refused(tmp_path: Path) -> None:
    tf, _ = import_tensorflow()
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match="found no signatures at all; expected"):
        _ = HubDelf(str(tmp_path)).dim


def test_an_extra_input_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    tf, _ = import_tensorflow()
    module = tf.Module()
    names = ("image", "image_scales", "score_threshold", "max_feature_num", "mood")
    specs = [tf.TensorSpec([None], tf.float32, name) for name in names]

    def run(*values: Any) -> dict[str, Any]:
        return {"locations": values[0], "descriptors": values[4]}

    module.run = tf.function(run, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(ValueError, match="'mood'"):
        _ = HubDelf(str(tmp_path)).dim


@pytest.mark.parametrize("damage", ["saved_model.pb", "variables"])
def test_a_damaged_model_is_refused(damage: str, models: dict[str, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models["module"], tmp_path / "copy"))
    if damage == "variables":
        shutil.rmtree(folder / damage)
    else:
        (folder / damage).write_bytes(b"no protocol buffer")
    with pytest.raises(ValueError, match="cannot load this SavedModel"):
        HubDelf(str(folder)).extract(_image())


def test_a_handle_that_cannot_be_fetched_asks_for_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(FileNotFoundError, match="download and unpack the model"):
        HubDelf("http://127.0.0.1:9/delf").extract(_image())  # nobody listens on port 9


def test_folders_are_checked_before_any_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        HubDelf(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"holds no saved_model\.pb"):
        HubDelf(str(tmp_path))


def test_triton_is_loaded_before_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    # python -c "import tensorflow, triton" is aborted: "LLVM ERROR: inconsistency in registered
    # CommandLine options" (tensorflow 2.21.0, triton 3.9.0); the other way round both work.
    import_module = builtins.__import__
    names: list[str] = []

    def record(name: str, *rest: Any, **named: Any) -> Any:
        names.append(name)
        return import_module(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", record)
    import_tensorflow()
    assert names.index("triton") < names.index("tensorflow") < names.index("tensorflow_hub")


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_hub"])
def test_missing_tensorflow_names_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    extractor = HubDelf()
    assert len(extractor.fingerprint) == 64  # needs no TensorFlow
    with pytest.raises(InputError, match=r"\[delf\]"):
        extractor.extract(_image())


@pytest.mark.parametrize(
    "settings",
    [
        {"image_scales": ()},
        {"image_scales": (1.0, 0.0)},
        {"image_scales": (float("nan"),)},
        {"max_features": 0},
        {"score_threshold": float("inf")},
        {"max_side": 15},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        HubDelf(**settings)
