"""Hostile images are answers with an error, and end nothing; bench_fuzz asks about 10,000."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.recognizer import TOGETHER, Recognizer
from tests.benchmarks.bench_fuzz import ask, write_mutants
from tests.conftest import Tiny
from tests.datasets import cairn
from tests.mutants import KINDS, draw_mutants

COUNT = 500


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Iterator[Recognizer]:
    with Recognizer.load(finished.run) as recognizer:
        yield recognizer


def test_the_same_seed_makes_the_same_files() -> None:
    one, same, other = (list(draw_mutants(50, seed)) for seed in (1, 1, 2))
    assert one == same != other
    kinds = {kind for kind, _ in draw_mutants(COUNT, 3)}
    assert kinds == {maker.__name__.strip("_") for maker, _ in KINDS}


def test_hostile_images_are_answered_or_refused_with_a_reason(recognizer: Recognizer) -> None:
    found = ask(recognizer, draw_mutants(COUNT, 7))
    assert found.outcomes.total() == COUNT
    reasons = {what for _, what in found.outcomes}
    assert reasons >= {"answered", "truncated", "corrupt", "not_an_image", "too_large"}
    assert reasons <= {
        *("answered", "truncated", "corrupt", "not_an_image", "too_large"),
        *("unsupported_format", "empty"),
    }
    assert found.longest < 5


def test_together_they_get_what_they_get_alone(recognizer: Recognizer) -> None:
    images = [data for _, data in draw_mutants(3 * TOGETHER, 8)]
    together = recognizer.recognize(images, neighbors=0)
    for image, answer in zip(images, together, strict=True):
        alone = recognizer.recognize(image, neighbors=0)
        assert (answer.label, answer.error) == (alone.label, alone.error)


def test_the_command_answers_the_others(finished: Tiny, tmp_path: Path) -> None:
    paths = write_mutants(tmp_path / "mutants", 60, 9)
    end = cairn("query", tmp_path / "mutants", "--run", finished.run, "--csv", "--xmp")
    assert end.status == 1
    rows = list(csv.DictReader(io.StringIO(end.out, newline=""), strict=True))
    assert [row["image"] for row in rows] == list(map(str, paths))
    assert 0 < sum(bool(row["error"]) for row in rows) < len(rows)
    named = [f"{row['image']}.xmp" for row in rows if row["label"]]
    assert sorted(map(str, (tmp_path / "mutants").glob("*.xmp"))) == named
