"""Say what the confidences of a run are worth, as tiles and as charts.

Reads the known queries of a run. Draws the charts in a temporary folder.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from classify_head.answers import NO_LANDMARK, Answers
from classify_head.coverage import OperatingPoint, measure_threshold, risk_coverage
from classify_head.reliability import ReliabilityBins, reliability_bins
from pipelines.answers.decision import load_known_answers
from pipelines.reports.tables import PROMISED

from .answers import RunAnswers
from .pictures import encode_data_uri
from .records import Picture, Tile

PHOTOS = {  # whose answers are judged, by whether there is a solution
    True: "the test photos",
    False: "photos with a known answer, kept from the training; those of landmarks were asked "
    "once more without their landmark in the database",
}


def judge(
    run: Path, answers: RunAnswers, threshold: float | None
) -> tuple[Answers, OperatingPoint] | None:
    """Return the answers to the test photos; without a solution those to the known queries.

    Args:
        run: run folder.
        answers: of the run.
        threshold: confidence that an answer must reach; None for another rule, or none.

    Returns:
        The answers, and what the given ones among them are; None where nothing is known of any.
    """
    if answers.has_solution:
        found, given = answers.answers, answers.given
    else:
        found = load_known_answers(run)
        given = found.given >= (-np.inf if threshold is None else threshold)
    if not found.query_ids:
        return None
    shown = np.where(given, found.given, -np.inf)
    return found, measure_threshold(found.correct & given, shown, -math.inf)


def make_tiles(answers: Answers, point: OperatingPoint, promised: Mapping[str, Any]) -> list[Tile]:
    """Return the calibration error, where there is one, coverage, precision and what was promised.

    Coverage and precision of the test photos alone: the mixture of the known queries is ours, and
    shares of it say nothing.

    Args:
        answers: to the test photos or the known queries.
        point: of the given ones.
        promised: of evaluate.load_promised.
    """
    tiles = []
    if bins := _reliability(answers):
        note = "mean gap between claimed and observed shares of right answers"
        tiles.append(Tile("calibration error", f"{bins.expected_error:.3f}", note))
    of_test = promised["test_share"] is not None
    if of_test:
        note = f"{point.answered} of {len(answers.query_ids)} photos; the others are refused"
        tiles.append(Tile("coverage", _percent(point.coverage), note))
    if of_test and point.answered:
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


def make_charts(answers: Answers, point: OperatingPoint) -> list[Picture]:
    """Return the reliability plot, of probabilities, and the risk-coverage curve."""
    from classify_head.plots import plot_reliability, plot_risk_coverage  # matplotlib: a second

    charts = []
    if bins := _reliability(answers):
        alt = f"reliability plot, calibration error {bins.expected_error:.3f}"
        title = "Is 0.8 right 8 times of 10?"
        note = "On the dashed line, confidences are the shares of right answers."
        charts.append(
            _chart(lambda path: plot_reliability(bins, path), (500, 600), alt, title, note)
        )
    curve = risk_coverage(answers.correct, answers.given)
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


def _reliability(answers: Answers) -> ReliabilityBins | None:
    """Bin the confidences; None without answers, and where one can be no probability."""
    asked = answers.labels != NO_LANDMARK
    claimed = answers.confidences[asked]
    if not len(claimed) or claimed.min() < 0 or claimed.max() > 1:
        return None
    return reliability_bins(answers.correct[asked], claimed)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
