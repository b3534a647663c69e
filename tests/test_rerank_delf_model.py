"""Attention, reduction, and the files a local model is kept in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.decomposition import PCA

from rerank.delf.attention import Attention, pool_attended
from rerank.delf.model import LocalModel, LocalSpec, fingerprint_delf, load_delf, save_delf
from rerank.delf.reduction import Moments, Reduction
from rerank.delf.settings import DelfSettings

SPEC = LocalSpec("f" * 64, stride=16, channels=12, center=7.5, hidden=8, dim=4)


def make_local(spec: LocalSpec = SPEC, seed: int = 0) -> LocalModel:
    torch.manual_seed(seed)
    return LocalModel(spec).eval()


def test_scores_are_positive_and_those_of_each_location_alone() -> None:
    attention = Attention(12, 8).eval()
    maps = torch.randn(2, 12, 3, 5)
    scores = attention(maps)
    assert scores.shape == (2, 3, 5)
    assert (scores > 0).all()
    torch.testing.assert_close(scores[:, 1:2, 3:4], attention(maps[:, :, 1:2, 3:4]))


def test_pooling_weighs_unit_descriptors_by_their_scores() -> None:
    maps, scores = torch.randn(2, 3, 2, 2), torch.rand(2, 2, 2)
    expected = torch.zeros(2, 3)
    for image in range(2):
        for row in range(2):
            for column in range(2):
                vector = maps[image, :, row, column]
                expected[image] += scores[image, row, column] * vector / vector.norm() / 4
    torch.testing.assert_close(pool_attended(maps, scores), expected)


def test_the_reduction_is_the_pca_of_unit_descriptors() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 12)) * np.linspace(3, 0.3, 12) + 0.5
    reduction, moments = Reduction(12, 4), Moments(12)
    for part in np.split(vectors, [1, 150]):  # any parts
        moments.add(torch.from_numpy(part).float())
    kept = moments.fit_pca(reduction)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    oracle = PCA(4).fit(unit)
    assert kept == pytest.approx(oracle.explained_variance_ratio_.sum(), abs=1e-4)
    signs = np.sign(oracle.components_[range(4), np.abs(oracle.components_).argmax(axis=1)])
    expected = oracle.transform(unit) * signs
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    with torch.inference_mode():
        found = reduction(torch.from_numpy(vectors).float())
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_too_few_descriptors_for_the_components_are_refused() -> None:
    moments = Moments(12)
    moments.add(torch.randn(4, 12))
    with pytest.raises(ValueError, match=r"4 local .* for 4 principal .* lower rerank\.delf\.dim"):
        moments.fit_pca(Reduction(12, 4))


def test_equal_descriptors_have_components_too() -> None:
    reduction, moments = Reduction(12, 4), Moments(12)
    moments.add(torch.ones(9, 12))
    assert 0 <= moments.fit_pca(reduction) <= 1
    assert all(bool(p.isfinite().all()) for p in reduction.parameters())


def test_more_dimensions_than_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rerank\.delf\.dim = 13: the map has 12 channels"):
        Reduction(12, 13)


def test_a_saved_model_comes_back_with_its_settings(tmp_path: Path) -> None:
    local, settings = make_local(), DelfSettings(dim=4, hidden=8, scales=(0.5, 1.0))
    local.mean_score.fill_(0.25)
    fingerprint = save_delf(local, settings, tmp_path)
    again, settings_again = load_delf(tmp_path, SPEC.model_fingerprint)
    assert fingerprint == fingerprint_delf(again) == fingerprint_delf(local)
    assert (again.spec, settings_again, again.training) == (SPEC, settings, False)
    maps = torch.randn(1, 12, 2, 2)
    torch.testing.assert_close(again.score(maps), local.score(maps), rtol=0, atol=0)


def test_fingerprints_tell_models_apart() -> None:
    other_spec = LocalSpec("e" * 64, stride=16, channels=12, center=7.5, hidden=8, dim=4)
    models = [make_local(), make_local(seed=1), make_local(other_spec)]
    assert len({fingerprint_delf(model) for model in models}) == 3
    assert fingerprint_delf(make_local()) == fingerprint_delf(models[0])


def test_a_local_model_beside_another_descriptor_model_is_refused(tmp_path: Path) -> None:
    save_delf(make_local(), DelfSettings(), tmp_path)
    with pytest.raises(ValueError, match=r"belongs to .* ffffffffffff, not to eeeee.*train DELF"):
        load_delf(tmp_path, "e" * 64)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no DELF model in"):
        load_delf(tmp_path, "f" * 64)


@pytest.mark.parametrize("damage", ["gone", "cut", "another"])
def test_weights_that_are_not_those_described_are_refused(damage: str, tmp_path: Path) -> None:
    save_delf(make_local(), DelfSettings(), tmp_path)
    path = tmp_path / "delf.safetensors"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        described = (tmp_path / "delf.json").read_text()
        save_delf(make_local(seed=1), DelfSettings(), tmp_path)
        (tmp_path / "delf.json").write_text(described)
    with pytest.raises(ValueError, match=r"delf.safetensors is not the file that delf.json"):
        load_delf(tmp_path, "f" * 64)


def test_another_format_is_refused(tmp_path: Path) -> None:
    save_delf(make_local(), DelfSettings(), tmp_path)
    path = tmp_path / "delf.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(ValueError, match="has format 9, this version reads 1"):
        load_delf(tmp_path, "f" * 64)


@pytest.mark.parametrize(
    "wrong", [{"scales": (0.5, 2.0)}, {"scales": (0.0, 1.0)}, {"dim": 0}, {"nms": 1}]
)
def test_senseless_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DelfSettings.model_validate(wrong)
