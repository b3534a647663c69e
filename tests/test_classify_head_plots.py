"""Plots are drawn for every input, into bytes that depend on the figures alone."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from classify_head.coverage import operating_point, risk_coverage
from classify_head.plots import plot_reliability, plot_risk_coverage
from classify_head.reliability import reliability_bins


def draw_both(folder: Path, suffix: str, *, size: int = 200) -> list[bytes]:
    generator = np.random.default_rng(0)
    probability = generator.random(size)
    correct = generator.random(size) < probability
    point = operating_point(correct, probability, 0.8)
    paths = [folder / f"reliability{suffix}", folder / f"coverage{suffix}"]
    plot_reliability(reliability_bins(correct, probability), paths[0])
    plot_risk_coverage(risk_coverage(correct, probability), paths[1], point=point)
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_figures_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = draw_both(tmp_path, suffix), draw_both(tmp_path, suffix)
    assert first == second
    assert all(data.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml") for data in first)


def test_images_are_drawn_in_colour_on_white(tmp_path: Path) -> None:
    for data in draw_both(tmp_path, ".png"):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert (image[[0, -1], :] == 255).all()
        assert (np.ptp(image, axis=2) > 100).sum() > 500  # of the coloured curve


def test_axes_and_the_operating_point_are_labelled(tmp_path: Path) -> None:
    reliability, coverage = (data.decode() for data in draw_both(tmp_path, ".svg"))
    for text in ("claimed probability", "share of right answers", "ECE 0."):
        assert f"<!-- {text}" in reliability
    for text in ("coverage: share of all queries", "risk: share of answers", "precision 8"):
        assert f"<!-- {text}" in coverage


@pytest.mark.parametrize(("confidence", "size"), [(-np.inf, 3), (0.5, 1)])
def test_curves_of_no_answer_or_one_point_are_drawn(
    confidence: float, size: int, tmp_path: Path
) -> None:
    correct, scores = np.zeros(size, bool), np.full(size, confidence)
    point = operating_point(correct, scores, 0.9)
    plot_risk_coverage(risk_coverage(correct, scores), tmp_path / "curve.png", point=point)
    assert (tmp_path / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize(("right", "probability"), [(True, 1.0), (False, 0.0)])
def test_a_single_bin_at_the_end_of_the_scale_is_drawn(
    right: bool, probability: float, tmp_path: Path
) -> None:
    bins = reliability_bins(np.array([right] * 7), np.full(7, probability))
    plot_reliability(bins, tmp_path / "bins.png")
    assert (tmp_path / "bins.png").stat().st_size > 1000


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '.pdf', expected .png or .svg"):
        draw_both(tmp_path, ".pdf")
    assert list(tmp_path.iterdir()) == []
