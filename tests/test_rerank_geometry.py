"""Tests of geometric verification against planted transforms."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import ransac
from skimage.transform import AffineTransform

from rerank.geometry import MINIMUM_MATCHES, Verification, verify_matches
from rerank.planar import is_plausible, project
from rerank.settings import Model

Floats = npt.NDArray[np.float64]
SIZE = (640, 480)
TURN: Floats = np.array([[0.0, -1.0, 480.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
MIRROR: Floats = np.array([[-1.0, 0.0, 640.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
PLANTED: dict[Model, Floats] = {
    "similarity": np.array([[0.7, -0.4, 150.0], [0.4, 0.7, -30.0], [0.0, 0.0, 1.0]]),
    "affine": np.array([[0.9, -0.5, 160.0], [0.2, 0.6, 10.0], [0.0, 0.0, 1.0]]),
    "homography": np.array([[0.9, -0.2, 80.0], [0.1, 0.8, 10.0], [3e-4, 2e-4, 1.0]]),
}
MODELS: list[Model] = ["similarity", "affine", "homography"]


def _points(n: int, rng: np.random.Generator) -> Floats:
    """Return [n, 2] points on a jittered grid, so that none share a location."""
    side = int(np.ceil(np.sqrt(n)))
    cells = rng.permutation(side * side)[:n]
    grid = np.stack([cells % side, cells // side], axis=1)
    return np.asarray((grid + rng.uniform(0.2, 0.8, (n, 2))) * np.array(SIZE) / side, np.float64)


def _verify(points0: Floats, points1: Floats, **options: Any) -> Verification:
    matches = np.repeat(np.arange(len(points0))[:, None], 2, axis=1)
    options = {"image_size0": SIZE, "image_size1": SIZE, **options}
    return verify_matches(
        points0.astype(np.float32), points1.astype(np.float32), matches, **options
    )


def _corner_error(found: Floats | None, planted: Floats) -> float:
    """Return the largest distance in pixels at points inside the image."""
    assert found is not None
    inside = np.array([[100.0, 100.0], [540.0, 100.0], [540.0, 380.0], [100.0, 380.0]])
    return float(np.abs(project(found, inside) - project(planted, inside)).max())


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_planted_transform_is_recovered_among_60_percent_outliers(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points0 = _points(100, rng)
    points1 = project(PLANTED[model], points0) + rng.normal(0, 0.5, (100, 2))
    points1[40:] = rng.uniform(0, 480, (60, 2))
    found = _verify(points0, points1, model=model)
    assert _corner_error(found.transform, PLANTED[model]) < 8.0
    assert found.inliers[:40].sum() >= 36
    assert found.inliers[40:].sum() <= 6


@pytest.mark.parametrize("seed", range(3))
def test_affine_inliers_are_those_of_another_ransac(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points0 = _points(120, rng)
    points1 = project(PLANTED["affine"], points0) + rng.normal(0, 0.5, (120, 2))
    points1[70:] = rng.uniform(0, 480, (50, 2))
    oracle, agree = ransac((points0, points1), AffineTransform, 3, 8.0 * 640 / 512, rng=seed)
    found = _verify(points0, points1, model="affine")
    assert (found.inliers != agree).sum() <= 2  # the oracle asks in one image only
    assert _corner_error(found.transform, np.asarray(oracle.params)) < 2.0


@pytest.mark.parametrize("model", MODELS)
def test_identical_images_and_quarter_turns_are_recovered(model: Model) -> None:
    points = _points(49, np.random.default_rng(0))
    for planted in (np.eye(3), TURN):
        found = _verify(points, project(planted, points), model=model)
        assert found.n_inliers == 49
        assert _corner_error(found.transform, planted) < 0.01
        assert found.residual < 0.01


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_residual_counts_pixels_at_a_longer_side_of_512(factor: float) -> None:
    rng = np.random.default_rng(1)
    points = _points(100, rng)
    angle = rng.uniform(0, 2 * np.pi, 100)
    # Each match lies 2.5 pixels of 640 off, in some direction: 2 pixels of 512.
    off = points + 2.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    size1 = (round(SIZE[0] * factor), round(SIZE[1] * factor))
    found = _verify(points, off * factor, image_size1=size1)
    assert found.n_inliers > 95
    assert found.residual == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("model", MODELS)
def test_mirrored_image_has_no_transform(model: Model) -> None:
    points = _points(60, np.random.default_rng(0))
    found = _verify(points, project(MIRROR, points), model=model)
    assert found.matches.shape == (60, 2)
    if model == "similarity":  # can't mirror, so it finds the few matches along some line
        assert found.n_inliers < 15
    else:
        assert found.transform is None
        assert found.n_inliers == 0


@pytest.mark.parametrize("model", MODELS)
def test_fewer_matches_than_the_minimum_have_no_transform(model: Model) -> None:
    points = _points(10, np.random.default_rng(1))
    for n in range(MINIMUM_MATCHES[model]):
        found = _verify(points[:n], points[:n], model=model)
        assert found.transform is None
        assert np.isnan(found.residual)
        assert found.matches.shape == (n, 2)
    enough = MINIMUM_MATCHES[model]
    assert _verify(points[:enough], points[:enough], model=model).n_inliers == enough


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (0.6, 0.5)])
def test_points_on_a_line_have_no_transform(
    model: Model, noise: float, direction: tuple[float, float]
) -> None:
    rng = np.random.default_rng(2)
    points = 40 + np.linspace(0, 500, 50)[:, None] * np.array(direction)
    points = points + rng.normal(0, noise, points.shape)
    assert _verify(points, points, model=model).transform is None


@pytest.mark.parametrize("model", MODELS)
def test_matches_that_all_hit_one_point_have_no_transform(model: Model) -> None:
    points = _points(40, np.random.default_rng(0))
    one = np.full((40, 2), 200.0)
    for points0, points1 in [(points, one), (one, points), (one, one)]:
        assert _verify(points0, points1, model=model).transform is None


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(*[st.sampled_from([-1.0, 0.0, 0.25, 7.0, 320.0, 1e5])] * 4), max_size=12
    )
)
def test_degenerate_points_never_raise(model: Model, rows: list[tuple[float, ...]]) -> None:
    points = np.array(rows, np.float64).reshape(-1, 4)
    found = _verify(points[:, :2], points[:, 2:], model=model)
    assert found.n_inliers == 0 or found.n_inliers >= MINIMUM_MATCHES[model]


@pytest.mark.parametrize("scale", [0.05, 20.0])
def test_collapsed_or_exploded_scale_is_refused(scale: float) -> None:
    points = _points(60, np.random.default_rng(0))
    assert _verify(points, points * scale).transform is None


def test_strong_shear_is_refused() -> None:
    points = _points(60, np.random.default_rng(0))
    shear = np.array([[1.0, 0.0, 0.0], [0.0, 0.15, 100.0], [0.0, 0.0, 1.0]])
    assert _verify(points, project(shear, points)).transform is None


def test_homography_that_folds_the_inliers_is_implausible() -> None:
    corners = np.array([[0.0, 0.0], [500.0, 0.0], [500.0, 400.0], [0.0, 400.0]])
    assert is_plausible(PLANTED["homography"], corners)
    folded = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-4e-3, 0.0, 1.0]])
    assert not is_plausible(folded, corners)
    assert not is_plausible(MIRROR, corners)
    assert not is_plausible(np.zeros((3, 3)), corners)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_order_of_matches_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points0 = _points(80, rng).astype(np.float32)
    points1 = project(PLANTED["affine"], points0.astype(np.float64)).astype(np.float32)
    points1[30:] = rng.uniform(0, 480, (50, 2))
    matches = np.repeat(np.arange(80)[:, None], 2, axis=1)
    order = rng.permutation(80)
    plain = verify_matches(points0, points1, matches, image_size0=SIZE, image_size1=SIZE)
    mixed = verify_matches(points0, points1, matches[order], image_size0=SIZE, image_size1=SIZE)
    np.testing.assert_array_equal(plain.inliers[order], mixed.inliers)
    np.testing.assert_array_equal(plain.transform, mixed.transform)


def test_two_runs_give_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    points0, points1 = _points(60, rng), rng.uniform(0, 480, (60, 2))
    points1[:10] = points0[:10]
    for model in MODELS:
        first, second = (_verify(points0, points1, model=model) for _ in range(2))
        np.testing.assert_array_equal(first.inliers, second.inliers)
        np.testing.assert_array_equal(first.transform, second.transform)


@pytest.mark.parametrize("model", MODELS)
def test_threads_of_opencv_change_nothing(model: Model) -> None:
    rng = np.random.default_rng(0)
    points0, points1 = _points(300, rng), rng.uniform(0, 480, (300, 2))
    points1[:60] = project(PLANTED[model], points0[:60]) + rng.normal(0, 2, (60, 2))
    before, found = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            found.append(_verify(points0, points1, model=model))
    finally:
        cv2.setNumThreads(before)
    assert found[0].n_inliers > 40
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].inliers, other.inliers)
        np.testing.assert_array_equal(found[0].transform, other.transform)


def test_matches_at_one_location_count_once() -> None:
    points = _points(20, np.random.default_rng(0))
    doubled = np.concatenate([points, points, points + 0.01])
    assert _verify(points, points).n_inliers == _verify(doubled, doubled).n_inliers == 20
    # Nine features of one spot prove no more than one.
    one_spot = np.concatenate([points[:3], np.repeat(points[3:4], 9, axis=0)])
    assert _verify(one_spot, one_spot).n_inliers == 4
    assert _verify(one_spot[1:], one_spot[1:]).transform is None


@pytest.mark.parametrize("factor", [0.25, 1.0, 6.0])
def test_resolution_of_an_image_changes_nothing(factor: float) -> None:
    rng = np.random.default_rng(4)
    points0 = _points(80, rng)
    points1 = project(PLANTED["affine"], points0) + rng.normal(0, 3, (80, 2))
    points1[40:] = rng.uniform(0, 480, (40, 2))
    size1 = (round(SIZE[0] * factor), round(SIZE[1] * factor))
    plain = _verify(points0, points1)
    scaled = _verify(points0, points1 * factor, image_size1=size1)
    assert abs(plain.n_inliers - scaled.n_inliers) <= 1
    resized = np.diag([factor, factor, 1.0]) @ PLANTED["affine"]
    assert _corner_error(scaled.transform, resized) < 8 * factor


def test_wrong_settings_are_refused() -> None:
    points = _points(5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="unknown model 'projective'"):
        _verify(points, points, model="projective")
    with pytest.raises(ValueError, match="threshold_px 0"):
        _verify(points, points, threshold_px=0.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"transform": None}, "no transform they agree with"),
        ({"transform": None, "inliers": np.zeros(2, np.bool_)}, "residual 1.0, but no transform"),
        ({"inliers": np.zeros(3, np.bool_)}, "matches are int64"),
        ({"matches": np.zeros((2, 2), np.int32)}, "expected int64"),
        ({"inliers": np.ones(2, np.int64)}, "not bool"),
        ({"transform": np.full((3, 3), np.nan)}, "finite"),
        ({"transform": np.eye(2)}, "3, 3"),
        ({"inliers": np.zeros(2, np.bool_)}, "a transform with 0 inliers"),
        ({"residual": np.nan}, "residual nan"),
        ({"residual": -1.0}, "residual -1"),
    ],
)
def test_contradictory_record_is_refused(changed: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {
        "matches": np.zeros((2, 2), np.int64),
        "inliers": np.ones(2, np.bool_),
        "transform": np.eye(3),
        "residual": 1.0,
    }
    assert Verification(**fields).n_inliers == 2
    with pytest.raises(ValueError, match=message):
        Verification(**{**fields, **changed})
