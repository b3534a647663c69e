"""The record of a training: tables that lose nothing, curves that draw whatever there is."""

import csv
import math
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from embed.errors import InputError, install_extra
from embed.history import (
    load_rows,
    plot_history,
    save_history,
    save_steps,
    smooth,
    write_tensorboard,
)

OLD = {
    "epoch": 1.0,
    "triplet_loss": 0.6614931,
    "head_loss": 4.5,
    "gap": 0.01365049,
    "gap_error": 0.00876765,
    "recall_at_1": 0.1325301,
}
NEW = {**OLD, "epoch": 2.0, "top1": 0.25, "head_top1": 0.125}
STEPS = [
    {
        "step": 10.0 * i + 1,
        "epoch": 1.0 + i // 20,
        "learning_rate": 3e-4,
        "triplet_loss": 1 / (i + 1) + 0.1 * (i % 3),
        "head_loss": 4.0 - i / 20 + 0.2 * (i % 2),
        "top1": i / 50,
    }
    for i in range(40)
]


def test_rows_of_old_have_the_bytes_of_old(tmp_path: Path) -> None:
    save_history([OLD], tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes().decode() == (
        "epoch,triplet_loss,head_loss,gap,gap_error,recall_at_1\r\n"
        "1,0.661493,4.5,0.0136505,0.00876765,0.13253\r\n"
    )


def test_a_resumed_training_may_have_more_columns_than_it_began_with(tmp_path: Path) -> None:
    save_history([OLD, {**NEW, "gap": math.nan}], tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == [*OLD, "top1", "head_top1"]
    assert (first["top1"], second["top1"], second["gap"]) == ("", "0.25", "nan")


def test_no_rows_leave_the_header(tmp_path: Path) -> None:
    save_history([], tmp_path / "history.csv")
    save_steps([], tmp_path / "metrics.csv")
    assert (tmp_path / "history.csv").read_text() == "epoch\n"
    header = "step,epoch,learning_rate,triplet_loss,head_loss,top1\n"
    assert (tmp_path / "metrics.csv").read_text() == header


def test_steps_beyond_a_million_stay_apart(tmp_path: Path) -> None:
    rows = [{**STEPS[0], "step": 1234567.0 + i, "local_loss": 0.5} for i in range(3)]
    save_steps(rows, tmp_path / "metrics.csv")
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert list(table["step"]) == [1234567, 1234568, 1234569]
    assert list(table.columns) == [*STEPS[0], "local_loss"]


@pytest.mark.parametrize("weight", [0.0, 0.6, 0.9])
def test_smoothing_is_the_weighted_mean_that_pandas_knows(weight: float) -> None:
    values = [row["triplet_loss"] for row in STEPS]
    known = pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean()
    assert smooth(values, weight) == pytest.approx(list(known))


def test_smoothing_passes_over_what_is_not_finite() -> None:
    found = smooth([math.nan, 2.0, math.inf, 4.0], 0.5)
    assert found == pytest.approx([math.nan, *smooth([2.0], 0.5), math.nan, 10 / 3], nan_ok=True)
    assert smooth([], 0.5) == []


UNJUDGED = {**OLD, "gap": math.nan, "recall_at_1": math.nan, "triplet_loss": math.inf}


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        ([], []),
        ([OLD, NEW], []),
        ([UNJUDGED], STEPS[:1]),
        ([{"epoch": 1.0}], STEPS),
        ([NEW], [STEPS[0], {**STEPS[1], "head_loss": math.nan}]),
    ],
    ids=["nothing", "old and new", "one of each", "no figures", "a step of nan"],
)
def test_curves_are_drawn_of_whatever_there_is_and_are_equal_for_equal_rows(
    rows: list[dict[str, float]], steps: list[dict[str, float]], tmp_path: Path
) -> None:
    plot_history(rows, tmp_path / "a.png", steps)
    plot_history(rows, tmp_path / "b.png", steps)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reason = "TensorBoard is an extra: pip install -e '.[tensorboard]'"
    name = "tensorboard.backend.event_processing.event_accumulator"
    pytest.importorskip("tensorboard", reason=reason)
    read = pytest.importorskip(name, reason=reason).EventAccumulator(str(folder)).Reload()
    tags = read.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in tags}


def test_tensorboard_reads_back_every_column_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="an extra: pip install -e '.[tensorboard]'")
    other = tmp_path / "events.out.tfevents.1.elsewhere"
    other.write_bytes(b"")
    write_tensorboard([OLD], STEPS[:2], tmp_path)
    write_tensorboard([OLD, {**NEW, "gap": math.nan}], STEPS, tmp_path)
    assert other.is_file() and len(list(tmp_path.iterdir())) == 2
    found = events(tmp_path)
    assert set(found) == {
        *(f"epochs/{name}" for name in NEW if name != "epoch"),
        *(f"steps/{name}" for name in STEPS[0] if name not in ("step", "epoch")),
    }
    assert found["epochs/head_loss"] == [(1, 4.5), (2, 4.5)]
    assert found["epochs/top1"] == [(2, 0.25)]
    assert [step for step, _ in found["steps/top1"]] == [row["step"] for row in STEPS]
    shares = [value for _, value in found["steps/top1"]]  # float32
    assert shares == pytest.approx([row["top1"] for row in STEPS], rel=1e-6)


def test_without_tensorboard_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=re.escape(install_extra("tensorboard"))):
        write_tensorboard([OLD], [], tmp_path)


def test_rows_come_back_without_their_empty_cells(tmp_path: Path) -> None:
    rows = [{"epoch": 1.0, "gap": 0.25}, {"epoch": 2.0, "top1": 0.5}]
    save_history(rows, tmp_path / "history.csv")
    assert load_rows(tmp_path / "history.csv") == rows
    save_history([], tmp_path / "history.csv")
    assert load_rows(tmp_path / "history.csv") == []
