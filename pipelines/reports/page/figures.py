"""Put the figures of a run's metrics into tiles and bars. Computes nothing but shares."""

from collections.abc import Mapping
from typing import Any

from pipelines.reports.tables import LOST_NAMES, STEP_NAMES

from .records import Bar, ScoreBars, Tile


def make_score_tiles(metrics: Mapping[str, Any]) -> list[Tile]:
    """Return the scores, which come first."""
    low, high = metrics["gap_interval"]
    counts = f"{metrics['n_queries']} photos, {metrics['n_landmark']} with a landmark"
    return [
        Tile("GAP", f"{metrics['gap']:.4f}", f"95 %: {low:.3f} to {high:.3f}; {counts}"),
        Tile("GAP, landmarks only", f"{metrics['gap_landmark_only']:.4f}", "without distractors"),
        Tile("top-1", f"{metrics['top1']:.4f}", "right labels, of photos with a landmark"),
    ]


def make_scores(metrics: Mapping[str, Any]) -> ScoreBars:
    """Return where GAP was lost, and what each step adds to it."""
    steps, columns = _steps(metrics)
    return ScoreBars(
        lost=tuple(_lost(metrics)),
        recall=tuple(_recall(metrics)),
        steps=tuple(steps),
        step_columns=columns,
        note=_near_duplicates(metrics["near_duplicates"]),
    )


def _lost(metrics: Mapping[str, Any]) -> list[Bar]:
    """Return where the missing GAP went; the widest bar is the largest loss."""
    lost = metrics["lost_gap"]
    most, total = max(lost.values()), sum(lost.values())
    return [
        Bar(
            LOST_NAMES[cause],
            f"{value:.4f}",
            value / most if most else 0.0,
            (f"{value / total:.0%}" if total else "-",),
        )
        for cause, value in lost.items()
    ]


def _steps(metrics: Mapping[str, Any]) -> tuple[list[Bar], tuple[str, ...]]:
    """Return the GAP that each step alone would have, and the names of its further columns."""
    unseen = metrics["unseen"]
    columns = ("95 % interval", "landmarks only", "top-1")
    bars = []
    for name, figures in metrics["steps"].items():
        low, high = figures["gap_interval"]
        more = [f"{low:.3f} to {high:.3f}"]
        more += [f"{figures[key]:.4f}" for key in ("gap_landmark_only", "top1")]
        more += [f"{unseen[name]:.4f}"] if unseen else []
        gap = figures["gap"]
        bars.append(Bar(STEP_NAMES[name], f"{gap:.4f}", gap, tuple(more)))
    return bars, (*columns, "GAP, untrained landmarks") if unseen else columns


def _recall(metrics: Mapping[str, Any]) -> list[Bar]:
    """Return how often the right landmark is among the nearest neighbours."""
    names = {k: "the nearest" if k == "1" else f"{k} nearest" for k in metrics["recall_at_k"]}
    return [Bar(names[k], f"{value:.4f}", value) for k, value in metrics["recall_at_k"].items()]


def _near_duplicates(found: Mapping[str, Any]) -> str:
    """Say how many test photos the database holds already; nothing if none."""
    if not found["queries"]:
        return ""
    count = "1 test photo is" if found["queries"] == 1 else f"{found['queries']} test photos are"
    without, listed = found["gap_without"], "listed in near_duplicates.csv"
    gap = "" if without is None else f"; without them GAP is {without:.4f}"
    return f"{count} almost the same in the database ({found['criterion']}){gap}; {listed}."
