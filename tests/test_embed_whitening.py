"""Whitening against scikit-learn's, and its files against damage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.decomposition import PCA

from embed import whitening as module
from embed.whitening import (
    LEAST_REPEATS,
    SHRINKAGE,
    Whitening,
    fit_whitening,
    fit_within_class,
    load_whitening,
)


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def descriptors(count: int = 200, dim: int = 12, seed: int = 0) -> NDArray[np.float32]:
    """Draw unit rows around a common direction, with variances that fall from one to the next."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count, dim)) * np.geomspace(1, 0.05, dim)
    turned = (rows + 1) @ np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    return unit(turned).astype(np.float32)


@settings(max_examples=40)
@given(st.integers(20, 200), st.integers(1, 12), st.integers(0, 10**6))
def test_full_power_is_whitening_by_scikit_learn(count: int, dim: int, seed: int) -> None:
    fitted, queries = descriptors(count, seed=seed), descriptors(30, seed=seed + 1)
    pca = PCA(dim, whiten=True, svd_solver="full").fit(unit(fitted))
    expected = unit(pca.transform(unit(queries)))
    found = fit_whitening(fitted, dim).apply(queries)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found.dtype == np.float32 and found.shape == (30, dim)


def test_power_0_is_projection_by_scikit_learn() -> None:
    fitted, queries = descriptors(), descriptors(30, seed=1)
    pca = PCA(5, svd_solver="full").fit(unit(fitted))
    found = fit_whitening(fitted, 5, power=0).apply(queries)
    np.testing.assert_allclose(found, unit(pca.transform(unit(queries))), atol=1e-5)


def test_power_0_of_all_dimensions_keeps_centred_cosines() -> None:
    rows = descriptors()
    centred = unit(unit(rows) - unit(rows).mean(axis=0))
    found = fit_whitening(rows, 12, power=0).apply(rows)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-5)


@pytest.mark.parametrize(("power", "regularisation"), [(1, 0), (0.5, 0), (1, 0.3), (0.25, 2)])
def test_variances_are_scaled_as_documented(power: float, regularisation: float) -> None:
    rows = descriptors()
    variances = np.linalg.eigvalsh(np.cov(unit(rows).T))[::-1]
    expected = variances * (variances + regularisation * variances.mean()) ** -power
    whitening = fit_whitening(rows, 12, power=power, regularisation=regularisation)
    projected = (unit(rows) - whitening.mean) @ whitening.projection.T
    np.testing.assert_allclose(np.cov(projected.T), np.diag(expected), atol=1e-4)


def test_lengths_of_descriptors_do_not_matter() -> None:
    rows = descriptors()
    scaled = rows * np.random.default_rng(0).uniform(0.1, 10, (len(rows), 1)).astype(np.float32)
    first, second = fit_whitening(rows, 6), fit_whitening(scaled, 6)
    np.testing.assert_allclose(first.apply(rows), second.apply(scaled), atol=1e-4)


def test_order_and_chunks_of_descriptors_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = descriptors()
    expected = fit_whitening(rows, 12)
    monkeypatch.setattr(module, "CHUNK_ROWS", 7)
    found = fit_whitening(rows[::-1], 12)
    np.testing.assert_allclose(found.projection, expected.projection, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-7)


def test_the_sign_of_a_direction_makes_its_largest_entry_positive() -> None:
    projection = fit_whitening(descriptors(), 12).projection
    assert (projection.max(axis=1) == np.abs(projection).max(axis=1)).all()


def test_two_fits_and_two_files_have_identical_bytes(tmp_path: Path) -> None:
    for name in "ab":
        fit_whitening(descriptors(), 6).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_whitening_comes_back_as_it_was(tmp_path: Path) -> None:
    whitening = fit_whitening(descriptors(), 6)
    whitening.save(tmp_path / "w.safetensors")
    found = load_whitening(tmp_path / "w.safetensors")
    assert found.fingerprint == whitening.fingerprint and len(found.fingerprint) == 64
    rows = descriptors(5, seed=3)
    assert found.apply(rows).tobytes() == whitening.apply(rows).tobytes()


def test_the_fingerprint_names_every_value() -> None:
    whitening = fit_whitening(descriptors(), 6)
    changed = whitening.projection.copy()
    changed[5, 11] *= 1.0001
    others = [
        Whitening(whitening.mean, changed),
        Whitening(whitening.mean, whitening.projection[:5]),
        Whitening(-whitening.mean, whitening.projection),
    ]
    assert len({w.fingerprint for w in [whitening, *others]}) == 4


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="no whitening at"):
        load_whitening(path)
    whitening = fit_whitening(descriptors(), 6)
    whitening.save(path)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"not as it was written.*fit it again"):
        load_whitening(path)
    path.write_bytes(damaged[:-40])
    with pytest.raises(ValueError, match="is no whitening"):
        load_whitening(path)
    save_file({"weights": np.ones(3)}, path)
    with pytest.raises(ValueError, match="is no whitening"):
        load_whitening(path)
    save_file({"mean": whitening.mean, "projection": whitening.projection.T.copy()}, path)
    with pytest.raises(ValueError, match="is no whitening"):
        load_whitening(path)


def test_too_few_descriptors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"6 vectors fill at most 5 directions.*at least 7"):
        fit_whitening(descriptors(6), 6)
    assert fit_whitening(descriptors(7), 6).apply(descriptors(2)).shape == (2, 6)
    with pytest.raises(ValueError, match="0 vectors fill at most 0"):
        fit_whitening(descriptors(0), 1)


def test_descriptors_that_are_too_much_alike_say_what_to_do() -> None:
    few = np.repeat(descriptors(4), 10, axis=0)
    with pytest.raises(ValueError, match=r"40 vectors fill only 3 directions, 4 are wanted"):
        fit_whitening(few, 4)
    assert fit_whitening(few, 3).projection.shape == (3, 12)
    assert np.isfinite(fit_whitening(few, 4, regularisation=0.1).projection).all()
    assert np.isfinite(fit_whitening(few, 4, power=0).projection).all()
    with pytest.raises(ValueError, match="fill only 0 directions"):
        fit_whitening(np.repeat(descriptors(1), 10, axis=0), 4, regularisation=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_descriptors_that_are_not_finite_or_0_are_refused(
    bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 64)
    rows = descriptors()
    whitening = fit_whitening(rows, 6)
    rows[150] = bad
    for use in (lambda: fit_whitening(rows, 6), lambda: whitening.apply(rows)):
        with pytest.raises(ValueError, match="vector 150 has length"):
            use()


@pytest.mark.parametrize("dim", [0, 13, -1])
def test_dimensions_that_there_are_not_are_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=rf"dim is {dim} for vectors of shape \(200, 12\)"):
        fit_whitening(descriptors(), dim)


@pytest.mark.parametrize(
    ("power", "regularisation"), [(-0.1, 0), (1.1, 0), (np.nan, 0), (1, -1), (1, np.inf)]
)
def test_senseless_settings_are_refused(power: float, regularisation: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1 and 0 or more"):
        fit_whitening(descriptors(), 6, power=power, regularisation=regularisation)


def test_descriptors_of_another_model_are_refused() -> None:
    whitening = fit_whitening(descriptors(), 6)
    with pytest.raises(ValueError, match=r"\(5, 8\), this whitening was fitted on \[N, 12\]"):
        whitening.apply(descriptors(5, dim=8))
    assert whitening.apply(descriptors(0)).shape == (0, 6)


def test_arrays_that_make_no_whitening_are_refused() -> None:
    mean = np.zeros(4, dtype=np.float32)
    with pytest.raises(ValueError, match=r"mean \(4,\) and projection \(2, 3\)"):
        Whitening(mean, np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="must be finite"):
        Whitening(mean, np.full((2, 4), np.nan, dtype=np.float32))


def things(count: int, photos: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return photos [count * photos, 12] of things that differ little, and by light a lot."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), photos)
    light = rng.normal(size=(len(labels), 1)) * rng.normal(size=12)
    noise = 0.02 * rng.normal(size=(len(labels), 12))
    return 3 + 0.3 * rng.normal(size=(count, 12))[labels] + light + noise, labels


@pytest.mark.parametrize("padded", [0, 60])  # more values than rows are computed another way
def test_within_classes_it_is_what_the_formula_says(padded: int) -> None:
    rows, labels = things(9, 6)
    noise = np.random.default_rng(1).normal(size=(len(rows), padded))
    rows = np.hstack([rows, 0.1 * noise])
    dim, units = rows.shape[1], unit(rows)
    rest = np.concatenate([units[labels == c] - units[labels == c].mean(0) for c in range(9)])
    covariance = rest.T @ rest / (54 - 9)
    level = np.trace(covariance) / dim
    values, directions = np.linalg.eigh(
        (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(dim)
    )
    root = directions @ np.diag((level / values) ** 0.5) @ directions.T
    found = fit_within_class(rows, labels)
    assert found is not None
    np.testing.assert_allclose(found.projection, root, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.mean, units.mean(0), rtol=1e-5)


def test_within_classes_what_differs_among_photos_of_a_thing_counts_less() -> None:
    rows, labels = things(12, 8)

    def right(vectors: np.ndarray) -> float:
        cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
        return float((labels[cosines.argmax(axis=1)] == labels).mean())

    whitening = fit_within_class(rows[::2], labels[::2])
    assert whitening is not None
    assert right(whitening.apply(rows)) > right(unit(rows)) + 0.1


def test_within_classes_names_and_order_do_not_matter() -> None:
    rows, labels = things(9, 6)
    order = np.random.default_rng(1).permutation(len(rows))
    first, second = (
        fit_within_class(rows, labels),
        fit_within_class(rows[order], 90 - labels[order]),
    )
    assert first is not None and second is not None
    np.testing.assert_allclose(first.projection, second.projection, rtol=1e-4, atol=1e-6)


def test_within_classes_too_few_photos_are_not_whitened() -> None:
    rows, labels = things(LEAST_REPEATS, 2)
    assert fit_within_class(rows, labels) is not None
    assert fit_within_class(rows[1:], labels[1:]) is None
    assert fit_within_class(rows, np.arange(len(rows))) is None
    alike = np.repeat(rows[:1], len(rows), axis=0)
    assert fit_within_class(alike, labels) is None
