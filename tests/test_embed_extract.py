"""Extraction gives every image its descriptor or its reason, however it is batched."""

import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from embed.backbone import BackboneSpec
from embed.decode import decode_image
from embed.engine import describe_batch
from embed.errors import InputError
from embed.extract import extract_all, extract_parts
from embed.failure import Failure
from embed.head_scores import HeadScores
from embed.image_sizes import check_view_sizes
from embed.meter import Meter
from embed.model import DescriptorModel, ModelSpec
from embed.tensor_views import make_views, merge_views
from embed.tensors import normalize, to_tensor
from embed.torch_engine import TorchEngine
from embed.transforms import Square, resize_image
from embed.views import ONE_VIEW, Views
from tests.images import photo

SEVERAL = Views((0.5, 1.0, 2.0), flip=True)
BROKEN = {2: b"no image", 5: b""}


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    return build()


def build(architecture: str = "test_resnet", image_size: int = 32) -> DescriptorModel:
    torch.manual_seed(0)
    return DescriptorModel(ModelSpec(BackboneSpec(architecture), image_size, dim=8)).eval()


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
    found = extract_all(
        TorchEngine(model), paths, batch_size=batch_size, max_pixels=10**6, workers=workers
    )
    return found.positions, found.vectors, list(found.failures)


def vector_of(
    model: DescriptorModel, pixels: np.ndarray, views: Views = ONE_VIEW
) -> NDArray[np.float32]:
    return describe_batch(TorchEngine(model), [pixels], views)[0]


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 0), (9, 0), (100, 2), (2, 2)])
def test_batches_and_threads_change_nothing(
    model: DescriptorModel, paths: list[Path], batch_size: int, workers: int
) -> None:
    positions, vectors, failures = extract(model, paths, batch_size, workers)
    assert positions.tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert [(f.position, f.reason) for f in failures] == [(2, "not_an_image"), (5, "empty")]
    alone = [vector_of(model, decode_image(paths[p], min_side=32).pixels) for p in positions]
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


@pytest.mark.parametrize("square", ["squeeze", "fit"])
@pytest.mark.parametrize("workers", [0, 2])
def test_parts_have_the_bytes_of_each_described_alone(
    model: DescriptorModel, paths: list[Path], workers: int, square: Square
) -> None:
    options: dict[str, Any] = {"batch_size": 2, "max_pixels": 10**6, "views": Views(square=square)}
    parts = [paths[:4], paths[4:5], paths[5:6], [], paths[6:]]
    files, sizes = chain.from_iterable(parts), map(len, parts)
    together = list(extract_parts(TorchEngine(model), files, sizes, workers=workers, **options))
    for part, found in zip(parts, together, strict=True):
        alone = extract_all(TorchEngine(model), part, workers=0, **options)
        np.testing.assert_array_equal(found.positions, alone.positions)
        assert found.vectors.tobytes() == alone.vectors.tobytes()
        assert found.failures == alone.failures


def test_images_of_the_next_part_are_decoded_while_one_is_described(
    model: DescriptorModel, paths: list[Path]
) -> None:
    taken: list[Path] = []

    def take() -> Iterator[Path]:
        for path in paths:
            taken.append(path)
            yield path

    found = extract_parts(
        TorchEngine(model), take(), [2, 7], batch_size=1, max_pixels=10**6, workers=1
    )
    next(found)
    assert len(taken) > 2
    before = threading.active_count()
    found.close()
    assert threading.active_count() == before - 2


def test_progress_adds_up_to_all_files(model: DescriptorModel, paths: list[Path]) -> None:
    steps: list[int] = []
    extract_all(
        *(TorchEngine(model), paths),
        batch_size=4,
        max_pixels=10**6,
        workers=0,
        meter=Meter(steps.append),
    )
    assert steps == [5, 4]


def test_the_limit_of_the_decoder_holds(model: DescriptorModel, paths: list[Path]) -> None:
    found = extract_all(TorchEngine(model), paths[:2], batch_size=4, max_pixels=80 * 45, workers=0)
    assert [(f.position, f.reason) for f in found.failures] == [(1, "too_large")]


def test_one_view_is_the_bare_model_to_the_last_bit(
    model: DescriptorModel, paths: list[Path]
) -> None:
    pixels = decode_image(paths[0], min_side=32).pixels
    images = to_tensor(resize_image(pixels, 32))[None]
    batch = normalize(images, model.spec.backbone).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model(batch).numpy()
    assert vector_of(model, pixels).tobytes() == expected.tobytes()
    assert TorchEngine(model).describe(images.numpy())[0].tobytes() == expected.tobytes()
    assert extract(model, paths[:1])[1].tobytes() == expected.tobytes()


def test_views_are_summed(model: DescriptorModel) -> None:
    pixels = photo(90, 70)
    large = to_tensor(resize_image(pixels, 64))[None]
    batch = normalize(large, model.spec.backbone)
    total = np.zeros(8)
    for side in (32, 64):  # half of 32 is less than the one cell of 32 pixels that there must be
        scaled = torch.nn.functional.interpolate(
            batch, size=side, mode="bilinear", antialias=True, align_corners=False
        )
        for view in (scaled, torch.from_numpy(scaled.numpy()[..., ::-1].copy())):
            with torch.inference_mode():
                total += model(view)[0].numpy() * (2 if side == 32 else 1)
    assert SEVERAL.sides(model) == (32, 32, 64)
    found = vector_of(model, pixels, SEVERAL)
    np.testing.assert_allclose(found[0], total / np.linalg.norm(total), atol=1e-6)


def test_views_are_merged_by_the_exponent(model: DescriptorModel) -> None:
    images = to_tensor(resize_image(photo(90, 70), 64))[None]
    plain, merged = (
        TorchEngine(model).describe(images.numpy(), Views((1.0, 2.0), merge_p=p))[0]
        for p in (1.0, 8.0)
    )
    small = normalize(images, model.spec.backbone)
    with torch.inference_mode():
        described = [model(view) for view in make_views(model, small, Views((1.0, 2.0)))]
    np.testing.assert_allclose(merged, merge_views(described, 8.0).numpy(), atol=1e-6)
    assert np.abs(merged - plain).max() > 1e-4


@pytest.mark.parametrize("views", [SEVERAL, Views((2.0,)), Views((0.7071, 1.4142)), Views((0.1,))])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_files_and_pixels_get_the_same_views(
    model: DescriptorModel, paths: list[Path], views: Views, batch_size: int
) -> None:
    found = extract_all(
        TorchEngine(model), paths, batch_size=batch_size, max_pixels=10**6, workers=0, views=views
    )
    positions, vectors = found.positions, found.vectors
    side = views.input_side(model)
    decoded = [decode_image(paths[position], min_side=side).pixels for position in positions]
    alone = [vector_of(model, pixels, views) for pixels in decoded]
    np.testing.assert_allclose(vectors, np.concatenate(alone), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_with_flip_a_mirrored_image_is_described_alike(model: DescriptorModel) -> None:
    pixels = photo(64, 64)
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    for scales in ((1.0,), (1.0, 2.0)):
        first, second = (vector_of(model, p, Views(scales, True)) for p in (pixels, mirrored))
        np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.abs(vector_of(model, pixels) - vector_of(model, mirrored)).max() > 1e-4


def test_an_image_is_decoded_once_at_the_largest_side(
    model: DescriptorModel, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def count(data: bytes, *, min_side: int, max_pixels: int, name: str) -> object:
        asked.append(min_side)
        return decode_image(data, min_side=min_side, max_pixels=max_pixels, name=name)

    monkeypatch.setattr("embed.images.decode_image", count)
    extract_all(
        TorchEngine(model), paths[:2], batch_size=4, max_pixels=10**6, workers=0, views=SEVERAL
    )
    assert asked == [64, 64]


@pytest.mark.parametrize(
    ("architecture", "image_size", "sides"),
    [
        ("test_resnet", 224, (160, 224, 320)),  # cells of 32 pixels
        ("test_resnet", 112, (80, 112, 160)),  # not whole cells itself: steps of 16
        ("test_resnet", 225, (159, 225, 318)),
        ("test_vit", 160, (112, 160, 224)),  # patches of 16
        ("test_vit", 16, (16, 16, 16)),
    ],
)
def test_sides_fit_the_cells_of_the_backbone(
    architecture: str, image_size: int, sides: tuple[int, ...]
) -> None:
    views = Views((0.7071, 1.0, 1.4142))
    assert views.sides(build(architecture, image_size)) == sides
    assert views.input_side(build(architecture, image_size)) == max(sides)


def test_a_transformer_takes_several_scales() -> None:
    found = vector_of(build("test_vit", 32), photo(64, 64), Views((0.5, 1.0, 1.5), True))
    assert found.shape == (1, 8)
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-5)


def test_a_backbone_of_one_size_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()

    def refuse(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("input height does not match")

    monkeypatch.setattr(model, "features", refuse)
    with pytest.raises(ValueError, match=r"'test_resnet' failed on views of 64 x 64 .*set scales"):
        vector_of(model, photo(64, 64), Views((2.0,)))
    with pytest.raises(AssertionError):  # at its own size nothing is explained away
        vector_of(model, photo(64, 64))


def test_images_of_another_side_are_refused(model: DescriptorModel) -> None:
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    assert TorchEngine(model).describe(images.numpy())[0].shape == (2, 8)
    with pytest.raises(ValueError, match=r"\(2, 3, 32, 32\), expected \[B, 3, 64, 64\]"):
        TorchEngine(model).describe(images.numpy(), SEVERAL)


class Doubler:
    """A classifier whose two classes are the first feature and its double."""

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return [B, 2]."""
        return torch.stack([features[:, 0], 2 * features[:, 0]], dim=1)

    def rank(self, logits: torch.Tensor) -> HeadScores:
        """Return both classes, in their order."""
        scores = logits.cpu().numpy().astype(np.float32)
        labels = np.broadcast_to(np.arange(2), scores.shape).copy()
        return HeadScores(labels, scores, scores.copy())


FITTED = [(40, 80), (80, 40), (64, 64), (1, 300), (200, 3), (50, 90), (90, 50), (61, 40)] * 2


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write images of many shapes, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("fitted")
    found = [folder / f"{number}.png" for number in range(len(FITTED))]
    for number, path in enumerate(found):
        Image.fromarray(photo(*FITTED[number], seed=number)).save(path)
        if number in BROKEN:
            path.write_bytes(BROKEN[number])
    return found


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 2.0)])
@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (100, 0), (3, 2)])
def test_fitted_files_are_described_alike_in_any_batch_and_order(
    fitted: list[Path],
    architecture: str,
    scales: tuple[float, ...],
    batch_size: int,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("embed.extract.WAITING", 3 * 128**2 * 4)  # some have to go early
    model, views = build(architecture, 64), Views(scales, square="fit")
    for paths in (fitted, fitted[::-1]):
        found = extract_all(
            TorchEngine(model),
            paths,
            batch_size=batch_size,
            max_pixels=10**6,
            workers=workers,
            views=views,
        )
        broken = [row for row, path in enumerate(paths) if fitted.index(path) in BROKEN]
        assert [failure.position for failure in found.failures] == broken
        rows = sorted({*range(len(paths))} - {*broken})
        assert found.positions.tolist() == rows
        alone = [vector_of(model, decode_image(paths[row]).pixels, views) for row in rows]
        np.testing.assert_allclose(found.vectors, np.concatenate(alone), rtol=0, atol=1e-5)


def test_a_square_is_fitted_as_it_is_squeezed(model: DescriptorModel) -> None:
    pixels = photo(70, 70)
    first, second = (vector_of(model, pixels, Views(square=s)) for s in ("squeeze", "fit"))
    assert first.tobytes() == second.tobytes()
    wide = photo(70, 140)
    first, second = (vector_of(model, wide, Views(square=s)) for s in ("squeeze", "fit"))
    assert np.abs(first - second).max() > 1e-4


def test_with_pretrained_features_beside_both_networks_see_the_fitted_image() -> None:
    joined = build(image_size=64).with_pretrained(build(image_size=64), 0.5).eval()
    found = vector_of(joined, photo(70, 140), Views(square="fit"))
    assert found.shape == (1, 16)
    np.testing.assert_allclose(found[0, :8], found[0, 8:], atol=1e-6)


def test_a_backbone_of_one_size_takes_no_fitted_images() -> None:
    model, views = build("test_maxvit", 160), Views(square="fit")
    check_view_sizes(model, ONE_VIEW)
    with pytest.raises(InputError, match=r"no images of 96 x 288 pixels, .*'squeeze' has squares"):
        check_view_sizes(model, views)
    with pytest.raises(InputError, match=r"views of 128 x 256 pixels, .*square = 'squeeze'"):
        vector_of(model, photo(40, 80), views)
    assert vector_of(model, photo(40, 40), views).shape == (1, 8)


def test_the_head_reads_the_mean_logit_of_the_views(model: DescriptorModel) -> None:
    pixels, views = photo(64, 64), Views(flip=True)
    _, found = describe_batch(TorchEngine(model, Doubler()), [pixels], views)
    batch = normalize(to_tensor(resize_image(pixels, 32))[None], model.spec.backbone)
    with torch.inference_mode():
        first = [model.features(view)[0, 0].item() for view in (batch, batch.flip(-1))]
    np.testing.assert_allclose(found.scores, [[np.mean(first), 2 * np.mean(first)]], rtol=1e-4)
    assert describe_batch(TorchEngine(model), [pixels], views)[1].labels.shape == (1, 0)


def test_head_scores_belong_to_the_images_that_could_be_read(
    model: DescriptorModel, paths: list[Path]
) -> None:
    found = extract_all(
        TorchEngine(model, Doubler()), paths, batch_size=2, max_pixels=10**6, workers=0
    )
    assert len(found.head) == len(found.positions) == len(paths) - len(BROKEN)
    pixels = decode_image(paths[3], min_side=32).pixels
    _, alone = describe_batch(TorchEngine(model, Doubler()), [pixels])
    np.testing.assert_allclose(found.head.scores[2], alone.scores[0], atol=1e-5)
