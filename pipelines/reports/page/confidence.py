"""Say what the confidences of a run are worth, as tiles and as charts.

Reads the known queries of a run. Draws the charts in a temporary folder.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify_head.answers import NO_LANDMARK
from classify_head.coverage import OperatingPoint, measure_threshold, risk_coverage
from classify_head.reliability import ReliabilityBins, reliability_bins
from pipelines.answers.decision import load_answered
from pipelines.reports.tables import PROMISED

from .answers import RunAnswers
from .pictures import encode_data_uri
from .records import Picture, Tile


@dataclass(frozen=True, eq=False)
class JudgedAnswers:
    """Q answers of which it is known whether they are right."""

    photos: str  # which these are, for people
    correct: NDArray[np.bool_]  # [Q]
    confidences: NDArray[np.float64]  # [Q]; -inf where there is no answer at all
    given: NDArray[np.bool_]  # [Q] whether the confidence was enough
    of_test: bool = True  # else the mixture is ours, and shares of it say nothing

    @property
    def has_probabilities(self) -> bool:
        """Whether there are answers, and every confidence can be a probability."""
        claimed = self.confidences[self.confidences > -np.inf]
        return bool(len(claimed) and claimed.min() >= 0 and claimed.max() <= 1)


def judge(run: Path, answers: RunAnswers, threshold: float | None) -> JudgedAnswers | None:
    """Return the answers to the test photos; without a solution those to the known queries.

    Args:
        run: run folder.
        answers: of the run.
        threshold: confidence that an answer must reach; None for another rule, or none.

    Returns:
        The answers, or None where nothing is known of any.
    """
    if answers.has_solution:
        own = answers.answers
        confidences = np.where(own.predicted == NO_LANDMARK, -np.inf, own.confidence)
        return JudgedAnswers("the test photos", own.correct, confidences, answers.given)
    known = load_answered(run)
    if not known.ids:
        return None
    photos = (
        "photos with a known answer, kept from the training; those of landmarks were asked once "
        "more without their landmark in the database"
    )
    least = -np.inf if threshold is None else threshold
    return JudgedAnswers(photos, known.correct, known.given, known.given >= least, of_test=False)


def make_tiles(judged: JudgedAnswers, promised: Mapping[str, Any]) -> list[Tile]:
    """Return the calibration error, where there is one, coverage, precision and what was promised.

    Args:
        judged: the answers.
        promised: of evaluate.load_promised.
    """
    tiles = []
    if judged.has_probabilities:
        note = "mean gap between claimed and observed shares of right answers"
        error = _reliability(judged).expected_error
        tiles.append(Tile("calibration error", f"{error:.3f}", note))
    point = operating_point(judged)
    if judged.of_test:
        note = f"{point.answered} of {len(judged.correct)} photos; the others are refused"
        tiles.append(Tile("coverage", _percent(point.coverage), note))
    if judged.of_test and point.answered:
        low = _percent(point.precision_low)
        note = f"right, of these; at least {low}, with 95 % confidence"
        tiles.append(Tile("precision", _percent(point.precision), note))
    return [*tiles, *_promise_tiles(promised)]


def _promise_tiles(promised: Mapping[str, Any]) -> Iterator[Tile]:
    """Yield the precision that was promised for either kind of distractors."""
    for kind, promise in promised["promises"].items():
        if promise is None or promise["precision"] is None:
            continue
        low, here = _percent(promise["precision_low"]), promise["at_test_share"]
        note = f"if {promised['promised_share']:.0%} of the photos are such; at least {low}"
        if here is not None:
            note += f"; {_percent(here['precision'])} at the {promised['test_share']:.0%} here"
        yield Tile(PROMISED[kind], _percent(promise["precision"]), note)


def operating_point(judged: JudgedAnswers) -> OperatingPoint:
    """Return how many answers are given, and how many of these are right."""
    shown = np.where(judged.given, judged.confidences, -np.inf)
    return measure_threshold(judged.correct & judged.given, shown, -math.inf)


def make_charts(judged: JudgedAnswers) -> list[Picture]:
    """Return the reliability plot, of probabilities, and the risk-coverage curve."""
    from classify_head.plots import plot_reliability, plot_risk_coverage  # matplotlib: a second

    charts = []
    if judged.has_probabilities:
        bins = _reliability(judged)
        alt = f"reliability plot, calibration error {bins.expected_error:.3f}"
        title = "Is 0.8 right 8 times of 10?"
        note = "On the dashed line, confidences are the shares of right answers."
        charts.append(
            _chart(lambda path: plot_reliability(bins, path), (500, 600), alt, title, note)
        )
    curve, point = risk_coverage(judged.correct, judged.confidences), operating_point(judged)
    alt = f"risk-coverage curve, area {curve.area:.3f}"
    title = "What does it cost to answer more?"
    note = "The dot is what the run's threshold gives; the dashed line is the best possible order."
    charts.append(
        _chart(
            lambda path: plot_risk_coverage(curve, path, point=point), (600, 400), alt, title, note
        )
    )
    return charts


def _chart(
    draw: Callable[[Path], None], size: tuple[int, int], alt: str, title: str, note: str
) -> Picture:
    """Draw a chart as SVG; size is its width and height, in any unit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chart.svg"
        draw(path)
        uri = encode_data_uri(path.read_bytes(), "image/svg+xml")
    return Picture(uri, alt, *size, title, note)


def _reliability(judged: JudgedAnswers) -> ReliabilityBins:
    asked = judged.confidences > -np.inf
    return reliability_bins(judged.correct[asked], judged.confidences[asked])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
