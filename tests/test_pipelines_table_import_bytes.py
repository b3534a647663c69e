"""Images whose bytes are in Parquet are written unchanged, part by part, and failures recorded."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.shards import read_failures
from pipelines.sources.table_import import images as table_images
from pipelines.sources.table_import.make import ImportResult, import_table
from tests.sources import (
    JPEG,
    PNG,
    WEBP,
    contents,
    located,
    tables,
    write_csv,
    write_parquet,
)


def test_bytes_are_written_unchanged_with_the_suffix_of_what_they_are(tmp_path: Path) -> None:
    table = write_parquet(
        tmp_path / "t.parquet", [JPEG, PNG, WEBP], image_id=["a.jpg", "b.jpg", "c"], label=[4, 4, 5]
    )
    done = import_table([table], tmp_path / "data", test_every=0)
    assert done == ImportResult({"train": 3}, landmarks=2, requested=3, failed=0)
    images = sorted(path.name for path in (tmp_path / "data/images").iterdir())
    assert images == ["a.jpg", "b.png", "c.webp"]
    assert [located(tmp_path / "data", i) for i in "abc"] == [JPEG, PNG, WEBP]
    assert tables(tmp_path / "data") == {"train": [["a", "4"], ["b", "4"], ["c", "5"]]}


def test_datasets_of_hugging_face_are_read(tmp_path: Path) -> None:
    """Bytes beside paths, numbers with names in the metadata, -1 for no label, several files."""
    names = {"label": {"names": ["bridge", "tower"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": names}})}
    for number, paths in enumerate((["x/1.jpg", "x/2.jpg"], ["x/3.jpg"])):
        images = [{"bytes": JPEG if p != "x/2.jpg" else PNG, "path": p} for p in paths]
        table = pa.table({"image": images, "label": pa.array([1, -1][: len(paths)])})
        file = tmp_path / f"in/train-0000{number}-of-00002.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), file)
    for source in (tmp_path / "in", tmp_path / "in" / "train-*.parquet"):
        import_table([source], tmp_path / "data", test_every=0)
        assert tables(tmp_path / "data") == {
            "train": [["1", "1"], ["3", "1"]],
            "non_landmark": [["2"]],
            "labels": [["0", "bridge"], ["1", "tower"]],
        }
    assert located(tmp_path / "data", "2") == PNG


@pytest.mark.parametrize("paths", [["1.jpg", "1.jpg"], ["1.jpg", None], None])
def test_without_ids_or_distinct_paths_rows_are_numbered(
    paths: list[str | None] | None, tmp_path: Path
) -> None:
    images = [JPEG, PNG] if paths is None else [{"bytes": JPEG, "path": path} for path in paths]
    write_parquet(tmp_path / "t.parquet", images, label=["x", "x"])
    import_table([tmp_path / "t.parquet"], tmp_path / "data", test_every=0)
    assert [i for i, _ in tables(tmp_path / "data")["train"]] == ["000", "001"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_that_are_no_image_are_recorded(kind: pa.DataType, tmp_path: Path) -> None:
    values = pa.array([JPEG, b"GIF89a", b"", None, b"RIFF\0\0\0\0WAVE", PNG], kind)
    table = write_parquet(tmp_path / "t.parquet", values, id=list("abcdef"), landmark_id=[1] * 6)
    done = import_table([table], tmp_path / "data", test_every=0)
    assert (done.requested, done.written, done.failed) == (6, 2, 4)
    assert read_failures(tmp_path / "data/failures.parquet") == {
        "b": ("not_an_image", "no JPEG, PNG or WebP, its first bytes are 47 49 46 38 39 61"),
        "c": ("empty", "0 bytes"),
        "d": ("missing", "the table has no bytes for it"),
        "e": ("not_an_image", "no JPEG, PNG or WebP, its first bytes are 52 49 46 46 00 00 00 00"),
    }
    assert tables(tmp_path / "data") == {"train": [["a", "1"], ["f", "1"]]}


def test_a_structure_without_bytes_is_recorded(tmp_path: Path) -> None:
    images = [{"bytes": JPEG, "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None]
    table = write_parquet(tmp_path / "t.parquet", images, label=[1, 1, 1])
    import_table([table], tmp_path / "data", test_every=0)
    assert set(read_failures(tmp_path / "data/failures.parquet")) == {"001", "002"}


def test_an_interrupted_import_goes_on_after_the_last_whole_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_images, "PART_ROWS", 3)
    ids = [f"i{number}" for number in range(10)]
    images = [JPEG] * 4 + [b"GIF"] + [PNG] * 5
    table = write_parquet(tmp_path / "t.parquet", images, id=ids, landmark_id=[1] * 10)
    written: list[str] = []
    write = table_images.ImageLayout.write

    def stop_at_eight(folder: Any, image_id: str, data: Any, suffix: str, renewal: Any) -> Any:
        if image_id == "i8" and "i8" not in written:
            written.append("i8")
            raise KeyboardInterrupt
        written.append(image_id)
        return write(folder, image_id, data, suffix, renewal)

    monkeypatch.setattr(table_images.ImageLayout, "write", stop_at_eight)
    data = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        import_table([table], data, test_every=0)
    assert not (data / "train.csv").exists()
    written.remove("i8")
    assert written == ["i0", "i1", "i2", "i3", "i5", "i6", "i7"]
    written[:] = ["i8"]
    done = import_table([table], data, test_every=0)
    # Row groups of two make parts of four rows: the first two of them were done.
    assert written == ["i8", "i8", "i9"]
    assert (done.requested, done.failed) == (10, 1)
    assert "i4" in read_failures(data / "failures.parquet")
    import_table([table], tmp_path / "whole", test_every=0)
    assert tables(data) == tables(tmp_path / "whole")
    assert contents(data / "images") == contents(tmp_path / "whole/images")
    assert not list((data / "images").glob(".*"))


def test_a_table_that_changed_is_written_again(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"id": ["a", "b"], "landmark_id": [1, 1]}
    table = write_parquet(tmp_path / "t.parquet", [JPEG, PNG], **columns)
    import_table([table], tmp_path / "data", test_every=0)
    write_parquet(tmp_path / "t.parquet", [PNG, WEBP], **columns)
    import_table([table], tmp_path / "data", test_every=0)
    images = sorted(path.name for path in (tmp_path / "data/images").iterdir())
    assert images == ["a.png", "b.webp"]
    assert len(list((tmp_path / "data/imported").iterdir())) == 1


def test_part_and_batch_sizes_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns: dict[str, Any] = {
        "id": [f"{n}" for n in range(9)],
        "label": [f"{n % 2}x" for n in range(9)],
    }
    images = [JPEG, PNG, b"no", WEBP, JPEG, None, JPEG, PNG, WEBP]
    write_parquet(tmp_path / "one/t.parquet", images, 9, **columns)
    write_parquet(tmp_path / "two/t.parquet", images, 2, **columns)
    import_table([tmp_path / "one"], tmp_path / "a")
    monkeypatch.setattr(table_images, "PART_ROWS", 1)
    monkeypatch.setattr(table_images, "BATCH_ROWS", 1)
    import_table([tmp_path / "two"], tmp_path / "b")
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    assert contents(tmp_path / "a/images") == contents(tmp_path / "b/images")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1.0, float("nan")], ["1", None]),
        (["1.0", ""], ["1", None]),
        (["3", "-1"], ["3", None]),
        (["x", " "], ["0", None]),
        (["x", "7"], ["1", "0"]),
    ],
)
def test_labels_are_numbers_if_all_are(
    labels: list[Any], expected: list[str | None], tmp_path: Path
) -> None:
    table = write_parquet(tmp_path / "t.parquet", [JPEG, PNG], id=["a", "b"], label=labels)
    import_table([table], tmp_path / "data", test_every=0)
    found = dict(tables(tmp_path / "data")["train"])
    assert [found.get("a"), found.get("b")] == expected


@pytest.mark.parametrize("kind", ["bytes", "files"])
def test_an_import_that_is_interrupted_leaves_the_dataset_as_it_was(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second table has other images under the same ids."""

    def prepare(first: bytes, second: bytes) -> dict[str, Any]:
        if kind == "bytes":
            table = write_parquet(tmp_path / "t.parquet", [first, second], label=["x", "y"])
            return {"paths": [table]}
        for name, data in (("000.jpg", first), ("001.jpg", second)):
            (tmp_path / "photos").mkdir(exist_ok=True)
            (tmp_path / "photos" / name).unlink(missing_ok=True)
            (tmp_path / "photos" / name).write_bytes(data)
        table = write_csv(tmp_path, "id,label\n000,x\n001,y\n")
        return {"paths": [table], "images": tmp_path / "photos"}

    data = tmp_path / "data"
    import_table(**prepare(JPEG, PNG), folder=data, test_every=0)
    before = contents(data)
    again = prepare(PNG, JPEG)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipelines.sources.table_import.make._number_labels", _interrupt)
        import_table(**again, folder=data, test_every=0)
    after = contents(data)
    assert after == {name: text for name, text in before.items() if name in after}
    assert all(name.startswith("imported/") for name in {*before} - {*after})
    import_table(**again, folder=data, test_every=0)
    assert [located(data, i) for i in ("000", "001")] == [PNG, JPEG]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
