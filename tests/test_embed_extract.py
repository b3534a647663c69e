"""Extraction gives every image its descriptor or its reason, however it is batched."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embed.backbone import BackboneSpec
from embed.decode import decode_image
from embed.extract import describe_pixels, extract_all, pick_device
from embed.images import Failure
from embed.model import DescriptorModel, ModelSpec
from tests.images import photo

BROKEN = {2: b"no image", 5: b""}


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    torch.manual_seed(0)
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), image_size=32, dim=8)).eval()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write 9 images of several sizes, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    found = [folder / f"{number}.jpg" for number in range(9)]
    for number, path in enumerate(found):
        Image.fromarray(photo(40 + 9 * number, 80, seed=number)).save(path)
        if number in BROKEN:
            path.write_bytes(BROKEN[number])
    return found


def extract(
    model: DescriptorModel, paths: list[Path], batch_size: int = 4, workers: int = 0
) -> tuple[np.ndarray, np.ndarray, list[Failure]]:
    return extract_all(model, paths, batch_size=batch_size, max_pixels=10**6, workers=workers)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 0), (9, 0), (100, 2), (2, 2)])
def test_batches_and_processes_change_nothing(
    model: DescriptorModel, paths: list[Path], batch_size: int, workers: int
) -> None:
    positions, vectors, failures = extract(model, paths, batch_size, workers)
    assert positions.tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert [(f.position, f.reason) for f in failures] == [(2, "not_an_image"), (5, "empty")]
    alone = [describe_pixels(model, decode_image(paths[p], min_side=32).pixels) for p in positions]
    np.testing.assert_allclose(vectors, np.concatenate(alone), rtol=0, atol=1e-5)
    assert vectors.dtype == np.float32 and positions.dtype == np.int64
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_permuted_files_give_permuted_rows(model: DescriptorModel, paths: list[Path]) -> None:
    readable = [path for number, path in enumerate(paths) if number not in BROKEN]
    _, vectors, _ = extract(model, readable)
    _, backwards, _ = extract(model, readable[::-1])
    np.testing.assert_allclose(backwards[::-1], vectors, rtol=0, atol=1e-5)


def test_two_runs_give_identical_bytes(model: DescriptorModel, paths: list[Path]) -> None:
    assert extract(model, paths)[1].tobytes() == extract(model, paths)[1].tobytes()


def test_a_file_may_be_asked_for_twice(model: DescriptorModel, paths: list[Path]) -> None:
    positions, vectors, failures = extract(model, [paths[0], paths[2], paths[0], paths[2]])
    assert positions.tolist() == [0, 2] and [f.position for f in failures] == [1, 3]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-6)


def test_nothing_readable_leaves_failures_alone(model: DescriptorModel, paths: list[Path]) -> None:
    positions, vectors, failures = extract(model, [paths[2], paths[5]], batch_size=1)
    assert positions.shape == (0,) and vectors.shape == (0, 8) and len(failures) == 2


def test_no_files_give_no_rows(model: DescriptorModel) -> None:
    positions, vectors, failures = extract(model, [])
    assert positions.shape == (0,) and vectors.shape == (0, 8) and failures == []
    assert positions.dtype == np.int64 and vectors.dtype == np.float32


def test_progress_adds_up_to_all_files(model: DescriptorModel, paths: list[Path]) -> None:
    steps: list[int] = []
    extract_all(model, paths, batch_size=4, max_pixels=10**6, workers=0, advance=steps.append)
    assert steps == [4, 4, 1]


def test_the_limit_of_the_decoder_holds(model: DescriptorModel, paths: list[Path]) -> None:
    *_, failures = extract_all(model, paths[:2], batch_size=4, max_pixels=80 * 45, workers=0)
    assert [(f.position, f.reason) for f in failures] == [(1, "too_large")]


def test_the_device_is_cuda_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=available: found)
        assert pick_device().type == name
