"""Photos that say little, or too much: each is answered, and in the same way by all commands."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pipelines.answers.answer import Answer
from pipelines.answers.open_run import open_features
from pipelines.recognizer import Recognizer
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.datasets import (
    LANDMARKS,
    SIDE,
    cairn,
    make_recipe_file,
    options,
    view,
    write_photo,
    write_table,
)

COPIED, TURNED = 1, 2  # landmarks


def blobs(centres: list[tuple[int, int]], sigma: float) -> NDArray[np.uint8]:
    """Draw bright spots at (x, y) on grey, [SIDE, SIDE, 3]: SIFT finds one feature in each."""
    y, x = np.mgrid[:SIDE, :SIDE]
    pixels = np.full((SIDE, SIDE), 128.0)
    for column, row in centres:
        pixels += 100 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)


# Pixels, and how many features they have; None for a texture full of them.
ODD: dict[str, tuple[NDArray[np.uint8], int | None]] = {
    "black": (np.zeros((SIDE, SIDE, 3), dtype=np.uint8), 0),
    "grey": (blobs([], 1), 0),
    "dot": (np.full((1, 1, 3), 77, dtype=np.uint8), 0),
    "thread": (view(0, 60)[:1], 0),  # one row of pixels
    "spot": (blobs([(48, 48)], 6), 1),
    "two spots": (blobs([(20, 48), (76, 48)], 6), 2),
    "line": (blobs([(8 + 16 * place, 48) for place in range(6)], 3), 6),
    "copy": (view(COPIED, 0), None),
    "turned": (np.ascontiguousarray(np.rot90(view(TURNED, 50))), None),
    "upside down": (np.ascontiguousarray(view(TURNED, 50)[::-1, ::-1]), None),
}
EMPTY = [name for name, (_, count) in ODD.items() if count is not None]


def write_odd(folder: Path) -> None:
    for name, (pixels, _) in ODD.items():
        write_photo(folder, name, pixels)
    # The very bytes of an image of the database.
    shutil.copy(folder / "images" / f"thing{COPIED}-0.jpg", folder / "images" / "copy.jpg")


@pytest.fixture(scope="module")
def odd(calibrated: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a finished run whose test images are the odd ones."""
    folder = tmp_path_factory.mktemp("odd")
    shutil.copytree(calibrated.data, folder / "data")
    shutil.copytree(calibrated.run, folder / "run")
    write_odd(folder / "data")
    write_table(folder / "data" / "test.csv", "id", list(ODD))
    (folder / "data" / "solution.csv").unlink()
    tiny = Tiny(folder / "data", calibrated.recipe, folder / "run")
    end = tiny.submit()
    assert end.status == 0, end.err
    return tiny


@pytest.fixture(scope="module")
def rows(odd: Tiny) -> dict[str, dict[str, Any]]:
    """Return the predictions of the submission by query."""
    table = pq.read_table(odd.run / "predictions.parquet").to_pylist()
    return {row["query_id"]: row for row in table}


@pytest.fixture(scope="module")
def asked(odd: Tiny) -> dict[str, Answer]:
    """Return what a query says of each photo."""
    engine = Recognizer.load(odd.run)
    return {
        name: engine.recognize(odd.data / "images" / f"{name}.jpg", neighbors=100) for name in ODD
    }


@pytest.mark.parametrize("name", ODD)
def test_the_photos_are_as_odd_as_they_should_be(name: str, odd: Tiny) -> None:
    store = open_features(odd.run, "test", load_recipe(str(odd.recipe)))
    assert store is not None
    features, count = store.get(name), ODD[name][1]
    assert features is not None
    assert len(features) == count or (count is None and len(features) > 50)
    if name == "line":
        assert np.ptp(features.keypoints[:, 1]) < 0.1


@pytest.mark.parametrize("name", EMPTY)
def test_photos_that_geometry_says_nothing_of_are_no_known_landmark(
    name: str, rows: dict[str, dict[str, Any]], asked: dict[str, Answer]
) -> None:
    row, answer = rows[name], asked[name]
    assert row["landmark_id"] is answer.label is None
    assert row["inliers"] <= 4  # as many fit by chance
    for reason in (row["reason"], answer.reason):
        assert reason.startswith("confidence 0.")
        assert "; the likeliest is Thing" in reason
    assert answer.error == ""
    assert all(match.inliers is not None and match.inliers <= 4 for match in answer.neighbors)


def test_a_photo_of_the_database_is_recognised_by_itself(
    rows: dict[str, dict[str, Any]], asked: dict[str, Answer]
) -> None:
    row, first = rows["copy"], asked["copy"].neighbors[0]
    assert row["landmark_id"] == asked["copy"].label == COPIED
    assert row["similarity"] == pytest.approx(1, abs=1e-5)
    assert first.image_id == f"thing{COPIED}-0"
    assert first.inliers == row["inliers"]


@pytest.mark.parametrize("name", ["turned", "upside down"])
def test_local_features_recognise_a_photo_that_is_turned(
    name: str, rows: dict[str, dict[str, Any]], asked: dict[str, Answer]
) -> None:
    assert rows[name]["landmark_id"] == asked[name].label == TURNED
    inliers = {match.image_id: match.inliers or 0 for match in asked[name].neighbors}
    right = [count for image_id, count in inliers.items() if image_id[5] == str(TURNED)]
    wrong = [count for image_id, count in inliers.items() if image_id[5] != str(TURNED)]
    assert min(right) > 20 > max(wrong)


@pytest.mark.parametrize("name", ODD)
def test_a_query_is_answered_as_in_the_submission(
    name: str, rows: dict[str, dict[str, Any]], asked: dict[str, Answer]
) -> None:
    assert asked[name].label == rows[name]["landmark_id"]
    assert asked[name].confidence == pytest.approx(rows[name]["confidence"], abs=1e-3)
    assert 0 <= asked[name].confidence <= 1


def test_the_submission_has_a_row_for_each(odd: Tiny) -> None:
    lines = (odd.run / "submission.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", *sorted(ODD)]


def test_odd_photos_may_be_in_database_and_pool(calibrated: Tiny, tmp_path: Path) -> None:
    shutil.copytree(calibrated.data, tmp_path / "data")
    shutil.copytree(calibrated.run, tmp_path / "run")
    write_odd(tmp_path / "data")
    rows = [f"thing{label}-{number},{label}" for label in range(LANDMARKS) for number in range(4)]
    rows += [f"{name},{LANDMARKS + place}" for place, name in enumerate(ODD)]
    write_table(tmp_path / "data" / "index.csv", "id,landmark_id", rows)
    pool = [f"pool {name}" for name in EMPTY[::2]]  # the same photos: an id is in one of the two
    for name in EMPTY[::2]:
        write_photo(tmp_path / "data", f"pool {name}", ODD[name][0])
    write_table(tmp_path / "data" / "non_landmark.csv", "id", pool)
    (tmp_path / "data" / "labels.csv").unlink()
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[train]\nepochs = 0\n")
    end = cairn("submit", *options(tmp_path / "data", tmp_path / "run", recipe))
    assert end.status == 0, end.err
    answer = Recognizer.load(tmp_path / "run").recognize(tmp_path / "data" / "images" / "dot.jpg")
    assert (answer.error, len(answer.neighbors)) == ("", 5)
