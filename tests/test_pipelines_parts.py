"""Parts of a split's artifact: a table that changes costs the work of what is new in it."""

import csv
import shutil
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.extract import extract_parts
from embed.failure import Failure
from embed.meter import Meter
from embed.parts import write_part
from index.rows import RowTable
from pipelines.answers.open_run import load_split_embeddings, load_split_failures, open_features
from pipelines.artifacts import load_manifest
from pipelines.runs.parts import PartMaker, PartPlan, Rows, plan_parts
from pipelines.runs.recipe import load_recipe
from rerank.sift import SiftExtractor
from tests.conftest import Tiny
from tests.datasets import view, write_photo, write_table

FAILS = "xyz"  # images that cannot be read


def test_images_stay_in_their_parts_and_the_others_fill_them_up() -> None:
    assert plan_parts("abcde", {}, 2) == {
        0: PartPlan([], [0, 1]),
        1: PartPlan([], [2, 3]),
        2: PartPlan([], [4]),
    }
    # A new row in the middle, and one gone: part 1 has room, no other is touched.
    assert plan_parts("aNbde", {0: "ab", 1: "cd", 2: "e"}, 2) == {
        0: PartPlan(["a", "b"], []),
        1: PartPlan(["d"], [1]),
        2: PartPlan(["e"], []),
    }
    # A lost part is made again in its place, and of an image in two parts the first counts.
    assert plan_parts("abcde", {1: "cd", 2: "ec"}, 2)[0] == PartPlan([], [0, 1])
    assert plan_parts("abcde", {1: "cd", 2: "ec"}, 2)[2] == PartPlan(["e"], [])
    # A part whose images are all gone goes; one that is too large by now stays.
    assert plan_parts("abcd", {0: "z", 7: "abc"}, 2) == {
        0: PartPlan([], [3]),
        7: PartPlan(["a", "b", "c"], []),
    }


Ids = st.lists(st.integers(0, 30), unique=True).map(lambda numbers: [str(n) for n in numbers])


@given(Ids, st.dictionaries(st.integers(0, 9), Ids), st.integers(1, 5))
def test_every_image_is_in_one_part(ids: list[str], held: dict[int, list[str]], size: int) -> None:
    plans = plan_parts(ids, held, size)
    given_out = [i for plan in plans.values() for i in (*plan.kept, *(ids[n] for n in plan.new))]
    assert sorted(given_out) == sorted(ids)
    known = {image_id for part in held.values() for image_id in part}
    assert {ids[n] for plan in plans.values() for n in plan.new} == set(ids) - known
    for number, plan in plans.items():
        assert set(plan.kept) <= set(held.get(number, ()))
        assert plan.kept or plan.new
        assert not plan.new or len(plan.kept) + len(plan.new) <= size


@dataclass
class Letters:
    """Makes parts of letters, and counts what it is asked for."""

    folder: Path
    made: list[str] = field(default_factory=list)

    def making(self, letter: str) -> None:
        """Do nothing, when the rows of the part that starts with a letter are made."""

    def make(self, ids: str, size: int = 3, *, key: str = "k") -> str:
        """Bring the parts to some letters; return those that were made for it."""

        def make_rows(parts: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
            for rows in parts:
                letters = [ids[row] for row in rows]
                self.made += letters
                self.making(letters[0])
                meter.advance(len(rows))
                good = [letter for letter in letters if letter not in FAILS]
                bad = [row for row in rows if ids[row] in FAILS]
                failures = [Failure(row, "bad", f"no {ids[row]}") for row in bad]
                yield pa.table({"image_id": good, "n": list(map(ord, good))}), failures

        before, done = len(self.made), list[int]()
        maker = PartMaker(self.folder, key, make_rows, group_rows=2)
        paths, failures = maker.make(ids, size, Meter(done.append))
        assert sum(done) == len(ids)
        assert paths == sorted(self.folder.glob("part-*.parquet"))
        assert failures == [Failure(n, "bad", f"no {i}") for n, i in enumerate(ids) if i in FAILS]
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        expected = [{"image_id": i, "n": ord(i)} for i in sorted(ids) if i not in FAILS]
        assert sorted(rows, key=lambda row: row["n"]) == expected
        return "".join(self.made[before:])


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    return Letters(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_new_images_are_made_and_only_their_part_is_written(letters: Letters) -> None:
    assert letters.make("abcdefgxh") == "abcdefgxh"
    stamps = {path: path.stat().st_mtime_ns for path in letters.folder.iterdir()}
    assert letters.make("abcdefgxh") == ""
    assert letters.make("hgabNcdefx") == "N"  # in the middle, and all others elsewhere
    assert stamps.items() <= {p: p.stat().st_mtime_ns for p in letters.folder.iterdir()}.items()
    assert letters.make("hgabNcdefxM") == "M"  # beside N
    assert len(list(letters.folder.iterdir())) == 4


def test_removed_images_leave_and_make_room(letters: Letters) -> None:
    letters.make("abcxefghi")
    assert letters.make("acxfghi") == ""
    assert letters.make("acyzfghi") == "yz"
    assert len(list(letters.folder.iterdir())) == 3
    assert letters.make("i") == ""
    assert [path.name for path in letters.folder.iterdir()] == ["part-00002.parquet"]


def test_another_key_makes_all_again(letters: Letters) -> None:
    letters.make("abcd")
    assert letters.make("abcd", key="other") == "abcd"
    assert letters.make("abcd", key="other") == ""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_or_lost_part_is_made_again_to_the_same_bytes(
    number: int, letters: Letters
) -> None:
    letters.make("abxdefgh")
    before, path = contents(letters.folder), letters.folder / f"part-{number:05d}.parquet"
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 3] ^= 1
    for damage in (lambda: path.write_bytes(flipped), path.unlink):
        damage()
        assert letters.make("abxdefgh") == "abxdefgh"[3 * number : 3 * number + 3]
        assert contents(letters.folder) == before


def test_an_interrupted_change_goes_on(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    letters.make("abcdefgh")

    def stop(*arguments: Any, **options: Any) -> Iterator[Path]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.runs.parts.writing", stop)
        with pytest.raises(KeyboardInterrupt):
            letters.make("bNcdeMfgh")
    letters.made.clear()
    assert letters.make("bNcdeMfgh") == "NM"


def test_rows_are_made_while_the_part_before_is_written(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = threading.Barrier(2, timeout=60)  # a writing and the rows after it meet here

    def wait(path: Path, *arguments: Any, **options: Any) -> None:
        if "00002" not in path.name:  # after the last nothing is made
            at_once.wait()
        write_part(path, *arguments, **options)

    class Waiting(Letters):
        def making(self, letter: str) -> None:
            if letter in "dg":
                at_once.wait()

    monkeypatch.setattr("pipelines.runs.parts.write_part", wait)
    assert Waiting(letters.folder).make("abcdefgh") == "abcdefgh"


def test_a_part_that_cannot_be_written_ends_the_making(
    letters: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pipelines.runs.parts.write_part", fail)
    before = threading.active_count()
    with pytest.raises(OSError, match="disk full"):
        letters.make("abcdefghijklmnop")
    assert letters.made == [*"abcdef"]  # the second part was under way
    assert threading.active_count() == before and not list(letters.folder.iterdir())


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the images that the network is asked about, as it is."""
    asked: list[str] = []

    def count(model: Any, files: Iterable[Path], sizes: Iterable[int], **options: Any) -> Any:
        paths = list(files)
        asked.extend(path.stem for path in paths)
        return extract_parts(model, paths, sizes, **options)

    monkeypatch.setattr("pipelines.stages.embed.extract_parts", count)
    return asked


@pytest.fixture
def sifted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return an entry for each image whose local features are found."""
    extract, done = SiftExtractor.extract, list[int]()

    def count(extractor: SiftExtractor, image: Any) -> Any:
        done.append(1)
        return extract(extractor, image)

    monkeypatch.setattr(SiftExtractor, "extract", count)
    return done


def write_index(data: Path, rows: Sequence[tuple[str, int]]) -> None:
    write_table(data / "index.csv", "id,landmark_id", [f"{i},{label}" for i, label in rows])


def test_one_photo_more_is_the_work_of_one_photo(
    tiny: Tiny, described: list[str], sifted: list[int]
) -> None:
    with (tiny.data / "train.csv").open(newline="") as file:
        rows = [(row["id"], int(row["landmark_id"])) for row in csv.DictReader(file)]
    broken = rows[3][0]
    (tiny.data / "images" / f"{broken}.jpg").write_bytes(b"no image")
    write_index(tiny.data, rows)
    assert tiny.submit().status == 0
    assert (len(described), len(sifted)) == (24, 23)
    folder = tiny.run / "embeddings" / "index"
    before = load_manifest(folder)

    # One more in the middle, two gone, one of another landmark.
    write_photo(tiny.data, "more", view(2, 9))
    rows = [*rows[1:2], ("more", 2), *rows[2:-1]]
    rows[5] = (rows[5][0], 5)
    write_index(tiny.data, rows)
    described.clear()
    sifted.clear()
    assert tiny.submit().status == 0
    assert (described, len(sifted)) == (["more"], 1)
    after = load_manifest(folder)
    assert before and after and before.key != after.key and before.content != after.content
    assert after.counts == {"requested": 23, "written": 22, "failed": 1}

    found = load_split_embeddings(tiny.run, "index")
    expected = [row for row in rows if row[0] != broken]
    assert list(zip(found.ids, found.landmark_ids.tolist(), strict=True)) == expected
    assert load_split_failures(tiny.run, "index").keys() == {broken}
    indexed = RowTable.load(tiny.run / "index" / "rows.arrow")
    assert indexed.list_ids() == found.ids

    # All of it made anew is the same, but for what another batch changes in the last bits.
    recipe = load_recipe(str(tiny.recipe))
    store = open_features(tiny.run, "index", recipe)
    features = {image_id: store.get(image_id) for image_id in found.ids if store}
    shutil.rmtree(folder)
    shutil.rmtree(tiny.run / "features" / "index")
    assert tiny.submit().status == 0
    again, store = (
        load_split_embeddings(tiny.run, "index"),
        open_features(tiny.run, "index", recipe),
    )
    assert store and again.ids == found.ids
    np.testing.assert_allclose(again.vectors, found.vectors, atol=1e-5)
    np.testing.assert_array_equal(again.landmark_ids, found.landmark_ids)
    for image_id, record in features.items():
        other = store.get(image_id)
        assert record and other
        np.testing.assert_array_equal(record.keypoints, other.keypoints)
        np.testing.assert_array_equal(record.descriptors, other.descriptors)


def test_another_label_alone_costs_no_work_and_is_not_stale(
    tiny: Tiny, described: list[str], sifted: list[int]
) -> None:
    with (tiny.data / "train.csv").open(newline="") as file:
        rows = [(row["id"], int(row["landmark_id"])) for row in csv.DictReader(file)]
    write_index(tiny.data, rows)
    assert tiny.submit().status == 0
    described.clear()
    sifted.clear()
    write_index(tiny.data, [(image_id, 5 - label) for image_id, label in rows])
    assert tiny.submit().status == 0
    assert (described, sifted) == ([], [])
    indexed = RowTable.load(tiny.run / "index" / "rows.arrow")
    assert indexed.landmark_ids.tolist() == [5 - label for _, label in rows]
