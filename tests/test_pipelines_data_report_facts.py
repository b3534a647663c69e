"""What a report says of a dataset, on tables whose answer is known."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.datasets.checking.scan import scan_dataset
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.derive import write_derived
from pipelines.datasets.facts.image_sizes import Measured, describe_images
from pipelines.datasets.facts.tables import LargeClass, QueryFacts
from pipelines.reports.data_report import Facts, collect_facts
from tests.datasets import (
    LANDMARKS,
    PHOTOS,
    SIDE,
    cairn,
    make_dataset,
    view,
    write_photo,
    write_table,
)


def collect(folder: Path, before: Path | None = None) -> Facts:
    return collect_facts(Dataset(folder), before)[0]


def make_small(folder: Path, rows: list[tuple[str, int]]) -> Path:
    """Write a dataset of train alone; images are those whose id begins with 'there'."""
    (folder / "images").mkdir(parents=True)
    for image_id, landmark in rows:
        if image_id.startswith("there"):
            write_photo(folder, image_id, view(landmark, 0))
    write_table(folder / "train.csv", "id,landmark_id", [f"{i},{label}" for i, label in rows])
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("facts") / "data")


def test_tables_are_counted(data: Path) -> None:
    facts = collect(data)
    assert [(table.name, table.rows, table.classes) for table in facts.tables] == [
        ("train", LANDMARKS * PHOTOS, LANDMARKS),
        ("test", 8, None),
        ("non_landmark", 6, None),
        ("labels", LANDMARKS, LANDMARKS),
    ]
    assert set(facts.sizes) == {"train"}
    assert facts.sizes["train"].largest == PHOTOS
    assert facts.largest[0] == LargeClass(0, "Thing 0", PHOTOS)
    assert facts.before is None


def test_every_image_of_a_small_dataset_is_looked_at(data: Path) -> None:
    images = collect(data).images
    assert images.images == images.looked_at == LANDMARKS * PHOTOS + 8 + 6
    assert images.width is not None
    assert (images.width.least, images.width.most) == (SIDE, SIDE)
    assert images.bytes == sum(path.stat().st_size for path in (data / "images").iterdir())
    assert (images.tiny.images, images.unreadable.images) == (0, 0)
    assert images.tiny.error is None


def test_queries_are_compared_with_training_and_database(tmp_path: Path) -> None:
    folder = make_small(tmp_path, [("a", 1), ("b", 2)])
    write_table(folder / "index.csv", "id,landmark_id", ["a,1", "c,3"])
    rows = ["q0,1,Public", "q1,2,Private", "q2,3,Public", "q3,4 3,Public", "q4,5,Public"]
    rows += ["q5,,Public", "q6,9,Ignored"]
    write_table(folder / "solution.csv", "id,landmarks,Usage", rows)
    # Untrained: 3, 4 and 5, so q2, q3 and q4. Not in the database: 2, 4 and 5, so q1 and q4.
    assert collect(folder).queries == QueryFacts(6, 1, 5, 3, 3, 3, 2)


def test_without_a_solution_nothing_is_said_of_queries(tmp_path: Path) -> None:
    folder = make_small(tmp_path, [("a", 1)])
    write_table(folder / "test.csv", "id", ["q"])
    facts = collect(folder)
    assert facts.queries is None
    assert [table.name for table in facts.tables] == ["train", "test"]


def test_one_missing_image_of_one_landmark_is_reported(tmp_path: Path) -> None:
    facts = collect(make_small(tmp_path, [("a", 7)]))
    assert facts.sizes["train"].singletons == 1
    assert facts.images.reasons == (("missing", 1),)
    assert facts.images.unreadable.share == 1.0
    assert facts.images.width is None
    assert facts.images.bytes == 0


def test_odd_images_are_found(tmp_path: Path) -> None:
    folder = make_small(tmp_path, [("there0", 1), ("there1", 1), ("there2", 1), ("gone", 1)])
    write_photo(folder, "there1", view(1, 0)[:10, :15])  # that of the slides is 15 x 10
    (folder / "images" / "there2.jpg").write_bytes(b"no image")
    images = collect(folder).images
    assert dict(images.reasons) == {"not_an_image": 1, "missing": 1}
    assert images.tiny.images == 1
    assert images.tiny.share == 0.5  # of those that can be read
    assert images.aspect is not None
    assert images.aspect.most == 1.5


def test_the_full_scan_says_what_looking_does(data: Path) -> None:
    sampled = collect(data).images
    scan_dataset(Dataset(data))
    (data / "images" / "thing0-0.jpg").rename(data / "images" / "moved")
    try:
        assert collect(data).images == sampled  # so it was not looked at again
    finally:
        (data / "images" / "moved").rename(data / "images" / "thing0-0.jpg")


def test_a_sample_has_a_standard_error() -> None:
    generator = np.random.default_rng(0)
    truth = np.where(generator.random(3000) < 0.2, 16, 640)
    shares, errors = [], []
    for _ in range(200):
        sides = generator.permutation(truth)[:300]
        sizes = np.stack([sides, sides], axis=1)
        ids = pa.array([str(n) for n in range(300)])
        measured = Measured(ids, sizes, sides * 10, pa.array([""] * 300), 3000)
        tiny = describe_images(measured).tiny
        assert tiny.error is not None
        shares.append(tiny.share)
        errors.append(tiny.error)
    assert np.mean(shares) == pytest.approx((truth == 16).mean(), abs=0.005)
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.15)
    assert np.mean(errors) < math.sqrt(0.16 / 300)  # a tenth of all images was looked at


def test_the_same_images_are_drawn_each_time(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipelines.datasets.facts.image_sizes.SAMPLE", 10)
    folder = make_dataset(tmp_path / "data")
    first, second = (collect_facts(Dataset(folder))[1] for _ in range(2))
    assert len(first.ids) == 10 and first.ids == second.ids
    assert not first.complete


def test_a_derived_dataset_knows_what_it_was_before(data: Path, tmp_path: Path) -> None:
    source = Dataset(data)
    train = pa.table({"id": ["thing0-0", "thing0-1", "thing1-0"], "landmark_id": [0, 0, 1]})
    reason = ["few verified neighbours: 1 of 2 needed", "few verified neighbours: 0 of 2 needed"]
    rejected = pa.table({"id": ["thing2-0", "thing2-1"], "landmark_id": [2, 2], "reason": reason})
    origin = {"cleaned from": str(data)}
    write_derived(source, tmp_path / "few", {"train": train, "rejected": rejected}, origin)
    before = collect(tmp_path / "few").before
    assert before is not None
    assert (before.name, before.sizes.images) == (data.name, LANDMARKS * PHOTOS)
    assert before.reasons == (("few verified neighbours", 2),)


def test_a_source_that_is_gone_is_made_up_of_what_was_rejected(tmp_path: Path) -> None:
    folder = make_small(tmp_path, [("a", 1), ("b", 2)])
    write_table(folder / "rejected.csv", "id,landmark_id,reason", ["c,2,blurred", "d,3,blurred"])
    (folder / "dataset.json").write_text(json.dumps({"cleaned from": str(tmp_path / "gone")}))
    before = collect(folder).before
    assert before is not None
    assert (before.name, before.sizes.images, before.sizes.classes) == ("train and rejected", 4, 3)


def test_any_other_dataset_can_be_compared_with(data: Path, tmp_path: Path) -> None:
    before = collect(make_small(tmp_path, [("a", 1)]), data).before
    assert before is not None
    assert before.sizes.classes == LANDMARKS


def test_largest_classes_come_in_order(tmp_path: Path) -> None:
    labels = [5] * 3 + [2] * 4 + [9] * 3 + list(range(20, 40))
    rows = [(f"image{number}", label) for number, label in enumerate(labels)]
    found = collect(make_small(tmp_path, rows)).largest
    counts = Counter(labels)
    expected = sorted(counts, key=lambda label: (-counts[label], label))[:10]
    assert [(large.landmark_id, large.images) for large in found] == [
        (label, counts[label]) for label in expected
    ]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("id,landmark_id", [], "has a header and no rows"),
        ("id,landmark", ["a,1"], "has no column landmark_id, only id, landmark"),
        (
            "id,landmark_id",
            ["a,tower"],
            "line 2: landmark_id 'tower' is not an integer of 0 or more",
        ),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, header: str, rows: list[str], message: str) -> None:
    (tmp_path / "images").mkdir()
    write_table(tmp_path / "train.csv", header, rows)
    with pytest.raises(ValueError, match=message):
        collect(tmp_path)


def test_what_a_run_would_refuse_is_listed_first(tmp_path: Path) -> None:
    folder = make_small(tmp_path, [("there-a", 1), ("there-b", 2)])
    rows = ["there-a,1", "there-a,-1", "there-b,2"]
    write_table(folder / "train.csv", "id,landmark_id", rows)
    write_table(folder / "test.csv", "id", ["there-b"])
    write_table(folder / "solution.csv", "id,landmarks", ["q,1"])
    end = cairn("data", "report", folder, "--no-plan")
    assert end.status == 0
    assert end.out.startswith("What has to be mended\n")
    problems = json.loads(cairn("data", "report", folder, "--no-plan", "--json").out)["facts"]
    assert [text.replace(f"{folder}/", "") for text in problems["problems"]] == [
        "train.csv has 1 repeated ids, the first is 'there-a' (lines 2 and 3); keep one row for "
        "each image",
        "train.csv, line 3: landmark_id '-1' is not an integer of 0 or more; give each landmark a "
        "number, and photos of none a row in non_landmark.csv",
        "solution.csv lacks 1 ids of test.csv, the first is 'there-b' (line 2 of test.csv); add a "
        "row for each, with empty landmarks for a photo of none",
        "solution.csv, line 2: 1 ids are not in test.csv, the first is 'q'; add them there, take "
        "the rows out, or set their Usage to Ignored",
        "1 images of test.csv are in train.csv, too, the first is 'there-b' (line 2 of test.csv, "
        "line 4 of train.csv); an image is either a query or known: keep one of the rows",
    ]
    assert "What has to be mended" in (folder / "report" / "data_report.html").read_text()


def test_a_table_that_cannot_be_counted_ends_in_the_list_of_all_that_is_wrong(
    tmp_path: Path,
) -> None:
    folder = make_small(tmp_path, [("there-a", 1)])
    write_table(folder / "train.csv", "id,landmark_id", ["there-a,x"])
    write_table(folder / "test.csv", "id", ["there-a"])
    end = cairn("data", "report", folder, "--no-plan")
    assert (end.status, end.out) == (1, "")
    assert "2 things have to be mended" in end.err
    assert "landmark_id 'x' is not an integer" in end.err and "are in train.csv, too" in end.err
