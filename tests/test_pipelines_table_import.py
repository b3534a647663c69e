"""A table and its images become a dataset folder: files or bytes, labels, splits, failures."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from embed.errors import InputError
from embed.shards import read_failures
from pipelines.commands.files import files as files_command
from pipelines.datasets.dataset import TABLES, Dataset
from pipelines.sources.table_import import images as table_images
from pipelines.sources.table_import.make import ImportResult, import_table
from pipelines.sources.table_import.rows import Columns
from tests.images import encode, photo

JPEG = encode(photo(16, 16), "JPEG")
PNG = encode(photo(16, 16), "PNG")
WEBP = encode(photo(16, 16), "WEBP")


def write_csv(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def write_photos(folder: Path, *names: str) -> Path:
    """Write files whose bytes are their names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def tables(data: Path) -> dict[str, list[list[str]]]:
    """Return the rows of all tables that are there."""
    found = {}
    for name in TABLES:
        if (path := data / f"{name}.csv").is_file():
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif (path := data / f"{name}.parquet").is_file():
            table = pd.read_parquet(path).astype(str)
        else:
            continue
        found[name] = table.to_numpy().tolist()
    return found


def contents(data: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }


def located(data: Path, image_id: str) -> bytes:
    path = Dataset(data).locate(image_id)
    assert isinstance(path, Path)
    return path.read_bytes()


# Files in a folder


def test_ids_without_suffix_find_their_files(tmp_path: Path) -> None:
    names = ("a.jpg", "b.PNG", "c.jpg", "c.webp", "unnamed.jpg", "x/d.v2.jpeg")
    photos = write_photos(tmp_path / "photos", *names)
    table = write_csv(tmp_path, "id,landmark_id\na,7\nb,7\nc,9\nx/d.v2,9\n")
    done = import_table([table], tmp_path / "data", images=photos, test_every=0)
    assert done == ImportResult({"train": 4}, landmarks=2, requested=4, failed=0)
    rows = [["a", "7"], ["b", "7"], ["c", "9"], ["x-d.v2", "9"]]
    assert tables(tmp_path / "data") == {"train": rows}
    assert located(tmp_path / "data", "x-d.v2") == b"x/d.v2.jpeg"
    assert [located(tmp_path / "data", i) for i in "abc"] == [b"a.jpg", b"b.PNG", b"c.jpg"]
    assert os.path.samefile(tmp_path / "data/images/a.jpg", photos / "a.jpg")
    assert not (tmp_path / "data/failures.parquet").exists()


def test_paths_become_ids(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "x/a.jpg", "y/a.JPG", "b.c.png")
    table = write_csv(
        tmp_path, f"file_name,label\n./x/a.jpg,Dom\n{photos}/y/a.JPG,Dom\nb.c.png,Turm\n"
    )
    import_table([table], tmp_path / "data", images=photos, test_every=0)
    found = tables(tmp_path / "data")
    assert found["train"] == [["x-a", "0"], ["y-a", "0"], ["b.c", "1"]]
    assert found["labels"] == [["0", "Dom"], ["1", "Turm"]]
    names = [located(tmp_path / "data", image_id) for image_id, _ in found["train"]]
    assert names == [b"x/a.jpg", b"y/a.JPG", b"b.c.png"]


def test_ids_and_files_may_be_in_two_columns(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "x/a.jpg", "x/a.png")
    table = write_csv(tmp_path, "key,file,kind\none,x/a.jpg,b\ntwo,x/a.png,a\n")
    columns = Columns(id="key", label="kind", image="file")
    import_table([table], tmp_path / "data", images=photos, columns=columns, test_every=0)
    assert tables(tmp_path / "data")["train"] == [["one", "1"], ["two", "0"]]
    assert located(tmp_path / "data", "two") == b"x/a.png"


def test_odd_values_survive(tmp_path: Path) -> None:
    """Ids that look like something else, names with commas, quotes, line breaks, a BOM."""
    photos = write_photos(tmp_path / "photos", "007.jpg", "NA.jpg", "1e5.jpg", "ö.jpg")
    text = '\ufeffid,name\n007,"Köln, ""Dom"""\nNA,null\n1e5,"two\nlines"\nö,NA\n'
    import_table([write_csv(tmp_path, text)], tmp_path / "data", images=photos, test_every=0)
    dataset = Dataset(tmp_path / "data")
    dataset.check_tables()
    assert dataset.load_split("train").ids == ("007", "NA", "1e5", "ö")
    assert set(dataset.names.values()) == {'Köln, "Dom"', "null", "two lines", "NA"}


def test_ids_of_names_stay_when_more_are_added(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", *(f"{name}.jpg" for name in "abcd"))
    rows = "id,label\na,m\nb,p\n"
    import_table([write_csv(tmp_path, rows)], tmp_path / "data", images=photos)
    import_table([write_csv(tmp_path, rows + "c,a\nd,z\n")], tmp_path / "data", images=photos)
    found = tables(tmp_path / "data")
    assert found["labels"] == [["0", "m"], ["1", "p"], ["2", "a"], ["3", "z"]]
    assert found["train"] == [["a", "0"], ["b", "1"], ["c", "2"], ["d", "3"]]


def test_every_so_many_th_row_of_a_label_is_kept_for_the_test(tmp_path: Path) -> None:
    """By id, not by place in the table; rows without a label are the pool."""
    ids = [f"{label}{number}" for number in (2, 0, 1, 3) for label in "uv_"]
    photos = write_photos(tmp_path / "photos", *(f"{i}.jpg" for i in ids))
    rows = [f"{i},{'' if i[0] == '_' else ord(i[0])}" for i in ids]
    table = write_csv(tmp_path, "\n".join(["id,landmark_id", *rows]))
    done = import_table([table], tmp_path / "data", images=photos, test_every=2)
    assert done.tables == {"train": 4, "test": 6, "non_landmark": 2}
    found = tables(tmp_path / "data")
    assert sorted(found["solution"]) == [
        ["_1", "", "Public"],
        ["_3", "", "Public"],
        ["u1", "117", "Public"],
        ["u3", "117", "Public"],
        ["v1", "118", "Public"],
        ["v3", "118", "Public"],
    ]
    assert sorted(found["non_landmark"]) == [["_0"], ["_2"]]
    assert [i for (i,) in found["test"]] == [i for i in ids if i[1] in "13"]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_table_of_a_european_spreadsheet_is_imported(
    separator: str, encoding: str, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    text = "File_name,Label,size\na.jpg,Köln,1,5\nb.jpg,Ulm,2,5\n"
    rows = text.replace(",", separator).replace(f"{separator}5", ",5")
    table = tmp_path / "table.csv"
    table.write_bytes(rows.encode(encoding))
    import_table([table], tmp_path / "data", images=photos, test_every=0)
    assert tables(tmp_path / "data") == {
        "train": [["a", "0"], ["b", "1"]],
        "labels": [["0", "Köln"], ["1", "Ulm"]],
    }


def test_unlabelled_rows_may_be_what_is_asked_about(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", *(f"{name}.jpg" for name in "abcd"))
    table = write_csv(tmp_path, "id,label\na,x\nb,x\nc,\nd,\n")
    data = tmp_path / "data"
    import_table([table], data, images=photos, test_every=0, unlabelled="test")
    found = tables(data)
    assert found == {
        "train": [["a", "0"], ["b", "0"]],
        "test": [["c"], ["d"]],
        "labels": [["0", "x"]],
    }
    import_table([table], data, images=photos, test_every=2, unlabelled="test")
    solution = [["b", "0", "Public"], ["c", "", "Ignored"], ["d", "", "Ignored"]]
    assert tables(data)["solution"] == solution


def test_a_column_of_splits_is_followed(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", *(f"{name}.jpg" for name in "abcdefg"))
    rows = "a,1,train\nb,2,Gallery\nc,2,test\nd,,query\ne,1,val\nf,,non_landmark\ng,1,index\n"
    table = write_csv(tmp_path, f"id,landmark_id,split\n{rows}")
    done = import_table([table], tmp_path / "data", images=photos)
    assert tables(tmp_path / "data") == {
        "train": [["a", "1"]],
        "index": [["b", "2"], ["g", "1"]],
        "validation": [["e", "1"]],
        "test": [["c"], ["d"]],
        "non_landmark": [["f"]],
        "solution": [["c", "2", "Public"], ["d", "", "Public"]],
    }
    assert sum(done.tables.values()) == done.requested == 7
    Dataset(tmp_path / "data").check_tables()


def test_a_test_that_nobody_labelled_has_no_solution(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = write_csv(tmp_path, "id,landmark_id,split\na,1,train\nb,,test\n")
    import_table([table], tmp_path / "data", images=photos)
    assert set(tables(tmp_path / "data")) == {"train", "test"}


def test_missing_files_are_recorded_and_only_the_test_keeps_their_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg", "c.gif", "x/y.jpg")
    text = "file_name,label,split\na.jpg,1,train\nb.jpg,1,train\nc.gif,1,index\nx,1,index\n"
    table = write_csv(tmp_path, text + "d,1,test\n")
    done = import_table([table], tmp_path / "data", images=photos)
    assert (done.requested, done.written, done.failed) == (5, 1, 4)
    assert tables(tmp_path / "data") == {
        "train": [["a", "1"]],
        "test": [["d"]],
        "solution": [["d", "1", "Public"]],
    }
    failures = read_failures(tmp_path / "data/failures.parquet")
    assert {image_id: reason for image_id, (reason, _) in failures.items()} == {
        "b": "missing",
        "c.gif": "unsupported_format",
        "x": "missing",
        "d": "missing",
    }
    assert failures["b"][1] == f"{photos}/b.jpg: no such file"
    assert failures["x"][1].startswith(f"{photos}/x: a folder, and none with .jpg, .jpeg, ")
    assert "4 of 5 images are left out" in caplog.text
    write_photos(photos, "b.jpg")
    table.write_text("file_name,label\na.jpg,1\nb.jpg,1\n")
    import_table([table], tmp_path / "data", images=photos)
    assert not (tmp_path / "data/failures.parquet").exists()


def test_two_imports_write_the_same(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", *(f"{number}.jpg" for number in range(12)))
    rows = [f"{number},name {number % 3}" for number in range(12)]
    table = write_csv(tmp_path, "\n".join(["id,label", *rows]))
    for folder in ("one", "two", "two"):
        import_table([table], tmp_path / folder, images=photos, test_every=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_large_tables_are_parquet_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.datasets.derive.MAX_CSV_ROWS", 3)
    monkeypatch.setattr(table_images, "FLAT_LIMIT", 3)
    photos = write_photos(tmp_path / "photos", "abcd.png", "ab.jpg", "abce.webp", "b.jpg")
    table = write_csv(tmp_path, "id,landmark_id\nabcd,1\nab,1\nabce,1\nb,1\n")
    data = tmp_path / "data"
    import_table([table], data, images=photos, test_every=0)
    assert (data / "train.parquet").is_file() and (data / "images/a/b/c/abcd.jpg").is_file()
    assert Dataset(data).load_split("train").ids == ("abcd", "ab", "abce", "b")
    assert [located(data, i) for i in ("abcd", "ab", "b")] == [b"abcd.png", b"ab.jpg", b"b.jpg"]
    table.write_text("id,landmark_id\nabcd,1\nab,1\n")
    import_table([table], data, images=photos, test_every=0)  # the layout stays
    assert not (data / "images/abcd.png").exists()
    assert not (data / "train.parquet").exists()


# Bytes in Parquet


def write_parquet(path: Path, images: Sequence[Any], group: int = 2, **columns: Any) -> Path:
    """Write a Parquet file with a column of image bytes, or of bytes beside a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=group)
    return path


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


def test_a_table_beside_files_may_be_parquet(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = pa.table(
        {"path": ["a.jpg", "b.jpg"], "label": pa.array(["x", "y"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    import_table([tmp_path / "t.parquet"], tmp_path / "data", images=photos, test_every=0)
    assert tables(tmp_path / "data")["train"] == [["a", "0"], ["b", "1"]]


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


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,landmark_id\n", "has a header and no rows"),
        ("", "is empty; it needs a header, and rows"),
        ("id,landmark_id\na\n", "line 2 has 1 cells, the header 2: a;"),
        ("nr,landmark_id\na,1\n", "has no column id or image_id or"),
        ("id,id,label\na,b,1\n", "has two columns of one name: id, id, label"),
        ("id,town\na,1\n", "name the one with the labels: --label-column"),
        ("id,landmark_id\n,1\n", "row 1 has no id; give it one"),
        ("id,landmark_id\na,1\na,2\n", "1 ids in more than one row, the first is 'a'"),
        ("id,landmark_id\na.jpg,1\na.png,2\n", "files that differ in suffix"),
        ("id,landmark_id\n.a,1\n", "the id '.a' cannot be a file name"),
        ("id,landmark_id\n../a,1\n", "'../a' in column id leads out of"),
        ("id,landmark_id\nx/../../a,1\n", "leads out of"),
        ("id,landmark_id\n/etc/passwd,1\n", "'/etc/passwd' in column id leads out of"),
        ("id,landmark_id\nC:\\a.jpg,1\n", "leads out of"),
        ("id,landmark_id\na,tower\n", "landmark_id 'tower' is not an integer of 0 or more"),
        ("id,landmark_id\na,-5\n", "landmark_id -5 is negative; only -1 is, for no label"),
        ("id,landmark_id,split\na,1,dev\n", "split 'dev' is unknown; there are train, index"),
        ("id,landmark_id,split\na,1,\n", "row 1 has no split"),
        ("id,landmark_id,split\na,,train\n", "'a' of train has no label; give it one"),
        ("id,landmark_id,split\na,1,non_landmark\n", "'a' of non_landmark has a label"),
        ("id,landmark_id,split\na,1,index\n", "no row is for training"),
        ("id,landmark_id\na,\n", "no row is for training"),
    ],
)
def test_tables_that_make_no_sense_are_refused(text: str, message: str, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg")
    with pytest.raises(ValueError, match=re.escape(message)):
        import_table([write_csv(tmp_path, text)], tmp_path / "data", images=photos)
    assert not (tmp_path / "data").exists()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    table = write_csv(tmp_path, "id,landmark_id\na,1\n")
    with pytest.raises(FileNotFoundError, match="no folder of images at"):
        import_table([table], tmp_path / "data", images=tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no table at .*absent\.csv"):
        import_table([tmp_path / "absent.csv"], tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=r"no \.parquet file in or below"):
        import_table([tmp_path], tmp_path / "data")
    with pytest.raises(ValueError, match="has no column of bytes to read images from; name the fo"):
        import_table([table], tmp_path / "data")
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none of the 1 images .*photos/a: no such file"):
        import_table([table], tmp_path / "data", images=tmp_path / "photos")
    with pytest.raises(ValueError, match="has no column nr, only id, landmark_id"):
        import_table([table], tmp_path / "data", images=tmp_path, columns=Columns(id="nr"))
    with pytest.raises(ValueError, match="test_every is 1"):
        import_table([table], tmp_path / "data", images=tmp_path, test_every=1)


def test_parquet_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one = write_parquet(tmp_path / "a.parquet", [JPEG], id=["a"], label=[1])
    other = write_parquet(tmp_path / "b.parquet", [JPEG], id=["b"], label=["x"])
    with pytest.raises(ValueError, match=r"b\.parquet has the columns .*label string, but"):
        import_table([one, other], tmp_path / "data")
    table = write_csv(tmp_path, "id,landmark_id\na,1\n")
    for paths in ([one, table], [table, table], [write_photos(tmp_path, "x.jpg") / "x.jpg"]):
        with pytest.raises(ValueError, match=r"name one \.csv file, or \.parquet files"):
            import_table(paths, tmp_path / "data")
    one.write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        import_table([one], tmp_path / "data")
    two = pa.table({"a": [JPEG], "b": [PNG], "label": [1]})
    pq.write_table(two, tmp_path / "two.parquet")
    with pytest.raises(ValueError, match=r"has 2 columns of bytes \(a, b\)"):
        import_table([tmp_path / "two.parquet"], tmp_path / "data")
    import_table([tmp_path / "two.parquet"], tmp_path / "d", columns=Columns(image="b"))
    assert located(tmp_path / "d", "000") == PNG


def test_a_folder_of_numbers_takes_no_names(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg")
    import_table([write_csv(tmp_path, "id,label\na,5\n")], tmp_path / "data", images=photos)
    with pytest.raises(InputError, match="labelled by numbers"):
        import_table([write_csv(tmp_path, "id,label\na,x\n")], tmp_path / "data", images=photos)
    own = tmp_path / "own"
    own.mkdir()
    (own / "train.csv").write_text("id,landmark_id\nmine,1\n")
    with pytest.raises(InputError, match="your own tables"):
        import_table([tmp_path / "table.csv"], own, images=photos)
    assert (own / "train.csv").read_text() == "id,landmark_id\nmine,1\n"


def test_the_command_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = write_csv(tmp_path, "key,town\na,x\nb,y\nc,y\n")
    app = typer.Typer()
    app.command()(files_command)
    options = ["--images", photos, "--id-column", "key", "--label-column", "town"]
    end = CliRunner().invoke(app, [str(table), *map(str, options)])
    assert end.exit_code == 0, end.output
    assert "data/table: 2 landmarks, 2 train\n" in end.stdout
    assert "1 of 3 images are not there; data/table/failures.parquet says why" in end.stdout
    assert tables(tmp_path / "data/table")["train"] == [["a", "0"], ["b", "1"]]


# What is interrupted, and odd names


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


def test_files_and_names_are_found_in_any_spelling(tmp_path: Path) -> None:
    names = ["Cafe\u0301-1.jpg", "below/Cafe\u0301-2.png", "Caf\xe9-3.jpg"]
    photos = write_photos(tmp_path / "photos", *names)
    text = "file_name,label\nCaf\xe9-1.jpg,Caf\xe9\nbelow/Caf\xe9-2,Cafe\u0301\n"
    table = write_csv(tmp_path, text + "Cafe\u0301-3,Caf\xe9\n")
    done = import_table([table], tmp_path / "data", images=photos, test_every=0)
    assert (done.landmarks, done.failed) == (1, 0)
    assert Dataset(tmp_path / "data").names == {0: "Caf\xe9"}
    assert tables(tmp_path / "data")["train"] == [
        ["Caf\xe9-1", "0"],
        ["below-Caf\xe9-2", "0"],
        ["Caf\xe9-3", "0"],
    ]


def test_ids_that_are_too_long_are_cut_and_stay_distinct(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{'ö' * 90}/{'x' * 100}{number}.jpg" for number in range(2)]
    photos = write_photos(tmp_path / "photos", *names, "a\x1bb.jpg")
    table = write_csv(tmp_path, "\n".join(["file_name,label", *(f"{n},m" for n in names)]))
    table.write_text(table.read_text() + "\na\x1bb.jpg,m\n")
    import_table([table], tmp_path / "data", images=photos, test_every=0)
    ids = [row[0] for row in tables(tmp_path / "data")["train"]]
    assert len(set(ids)) == 3 and ids[2] == "a_b"
    assert all(len(i.encode()) <= 200 for i in ids)
    assert [located(tmp_path / "data", i) for i in ids[:2]] == [n.encode() for n in names]
    assert "3 ids are too long for file names, or hold what cannot be shown" in caplog.text


def test_an_image_without_suffix_is_told_how_to_name_it(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg")
    (photos / "bare").write_bytes(PNG)
    table = write_csv(tmp_path, "id,label\na,m\nbare,m\n")
    import_table([table], tmp_path / "data", images=photos, test_every=0)
    assert (
        "add .png to its name" in read_failures(tmp_path / "data" / "failures.parquet")["bare"][1]
    )
