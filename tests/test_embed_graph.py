"""An exported graph describes images as torch does, and one that will not do is refused."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from embed.errors import InputError, MissingFileError
from embed.extract import extract_all
from embed.graph import (
    GraphEngine,
    _core,
    list_precisions,
    read_graph_spec,
)
from embed.torch_engine import TorchEngine
from embed.views import Views
from tests.graphs import (
    FINGERPRINT,
    build,
    export,
    least_cosine,
    photos,
)
from tests.images import encode, photo

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install -e '.[openvino]'")


def test_streams_describe_as_one_does_whatever_runs_beside(tmp_path: Path) -> None:
    spec = export(build(), tmp_path)
    images = [photos(spec.image_size)[place : place + 1] for place in (0, 1, 2)] * 4
    one = GraphEngine(tmp_path, spec, "f32")
    engine = GraphEngine(tmp_path, spec, "f32", streams=2)
    assert (one.streams, engine.streams) == (1, 2)
    alone = [engine.describe(each)[0] for each in images]
    with ThreadPoolExecutor(4) as pool:
        together = [found for found, _ in pool.map(engine.describe, images)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(alone, [one.describe(each)[0] for each in images], atol=1e-5)


def test_files_are_described_in_order_by_streams(tmp_path: Path) -> None:
    spec = export(build(), tmp_path)
    files = [tmp_path / f"{number}.jpg" for number in range(30)]
    for number, file in enumerate(files):
        file.write_bytes(encode(photo(90, 70, number), "JPEG") if number != 7 else b"")
    by_one, by_two = (
        extract_all(
            GraphEngine(tmp_path, spec, "f32", streams=streams),
            files,
            batch_size=8,
            max_pixels=10**6,
            workers=1,
        )
        for streams in (1, 2)
    )
    assert by_two.positions.tolist() == [row for row in range(30) if row != 7]
    assert [failure.position for failure in by_two.failures] == [7]
    np.testing.assert_array_equal(by_two.positions, by_one.positions)
    np.testing.assert_allclose(by_two.vectors, by_one.vectors, atol=1e-5)


@pytest.mark.parametrize(
    "views", [Views(flip=True), Views(crops=1), Views(crops=10), Views(flip=True, merge_p=4.0)]
)
def test_views_that_are_not_scaled_are_those_of_torch(views: Views, tmp_path: Path) -> None:
    model = build()
    spec = export(model, tmp_path)
    assert spec.takes(views)
    assert least_cosine(model, tmp_path, spec, views=views) > 0.99999


def test_fitted_images_have_any_shape(tmp_path: Path) -> None:
    model, views = build(), Views(square="fit")
    spec = export(model, tmp_path)
    assert spec.any_shape and spec.takes(views)
    engine = GraphEngine(tmp_path, spec, "f32", views=views)
    for shape in ((32, 96), (64, 64), (96, 64)):
        images = photos(96)[:, :, : shape[0], : shape[1]]
        expected, _ = TorchEngine(model).describe(images, views)
        np.testing.assert_allclose(engine.describe(images, views)[0], expected, atol=1e-4)


def test_photos_of_many_shapes_are_described_by_the_graph_as_each_alone_by_torch(
    tmp_path: Path,
) -> None:
    model, views = build(), Views(square="fit")
    sizes = [(90, 120), (120, 90), (80, 80), (60, 180)] * 3
    paths = [tmp_path / f"{number}.jpg" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(encode(photo(*size, seed=number), "JPEG"))
    paths[5].write_bytes(b"no photo")
    graph = GraphEngine(tmp_path, export(model, tmp_path), "f32", views=views)
    found, alone = (
        extract_all(engine, paths, batch_size=size, max_pixels=10**6, workers=1, views=views)
        for engine, size in ((graph, 4), (TorchEngine(model), 1))
    )
    assert found.positions.tolist() == alone.positions.tolist() and len(found.positions) == 11
    assert [failure.position for failure in found.failures] == [5]
    np.testing.assert_allclose(found.vectors, alone.vectors, atol=1e-4)


def test_scaled_views_are_left_to_torch(tmp_path: Path) -> None:
    spec = export(build(), tmp_path)
    assert not spec.takes(Views((1.0, 2.0))) and not spec.takes(Views(crops=12))


def test_images_of_another_side_are_refused(tmp_path: Path) -> None:
    engine = GraphEngine(tmp_path, export(build(), tmp_path), "f32")
    with pytest.raises(ValueError, match=r"\(3, 3, 32, 32\), expected \[B, 3, 64, 64\]"):
        engine.describe(photos(32))


def test_no_image_gives_no_row_and_a_batch_changes_nothing(tmp_path: Path) -> None:
    engine = GraphEngine(tmp_path, export(build(), tmp_path), "f32")
    images = photos(64, 5)
    together = engine.describe(images)[0]
    alone = np.concatenate([engine.describe(images[[row]])[0] for row in range(5)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert engine.describe(images)[0].tobytes() == together.tobytes()


def test_bfloat16_is_left_out_where_the_processor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = export(build(), tmp_path)
    monkeypatch.setattr("embed.graph.list_precisions", lambda: ("f32",))
    with caplog.at_level("INFO"):
        assert GraphEngine(tmp_path, spec, "bf16").name == "openvino-f32"
    assert "no bfloat16" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 9}, "format 9, this one has 1"),
        ({"model": "0" * 64}, "graph of model 000000000000, not of ffffffffffff"),
        ({"colour": 1}, "is damaged"),
        ({"dim": "16"}, "is damaged"),
        ({"image_size": -3}, "is damaged .*size below 1"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    export(build(), tmp_path)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=message):
        read_graph_spec(tmp_path, FINGERPRINT)
    for damaged in (b"", b"[]", b"\0\xff", b"[" * 100_000):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged"):
            read_graph_spec(tmp_path, FINGERPRINT)
    path.unlink()
    with pytest.raises(MissingFileError, match=r"no graph in .*embed.engine = 'torch'"):
        read_graph_spec(tmp_path, FINGERPRINT)


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin"])
def test_a_truncated_graph_is_refused(name: str, tmp_path: Path) -> None:
    spec = export(build(), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be loaded .*cairn train --redo"):
        GraphEngine(tmp_path, spec, "f32")


@pytest.mark.parametrize(
    ("old", "new"), [('"opset1"', '"opset99"'), ('version="11"', 'version="99"')]
)
def test_a_graph_of_a_newer_runtime_is_refused(old: str, new: str, tmp_path: Path) -> None:
    spec = export(build(), tmp_path)
    path = tmp_path / "graph.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=r"cannot be loaded .*update the runtime, .*pip install"):
        GraphEngine(tmp_path, spec, "f32")


def test_the_runtime_is_imported_without_its_converter_which_stays_there() -> None:
    code = (
        "import sys; from embed.graph import import_runtime\n"
        "runtime = import_runtime()\n"
        "assert runtime is import_runtime() and runtime.Core().available_devices\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "from openvino.tools.ovc import convert_model"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)


def test_a_runtime_that_is_damaged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # its import fails
    _core.cache_clear()
    with pytest.raises(InputError, match=r"cannot be loaded .*pip install .*\[openvino\]"):
        list_precisions()


def test_the_graph_of_a_model_of_other_length_is_refused(tmp_path: Path) -> None:
    other, folder = export(build(dim=8), tmp_path), tmp_path / "mine"
    folder.mkdir()
    spec = export(build(dim=16), folder)
    assert (other.dim, spec.dim) == (8, 16)
    with pytest.raises(InputError, match=r"returns vectors of 8, 8 values, graph\.json says 16"):
        GraphEngine(tmp_path, spec, "f32")
