"""A table and files in a folder become a dataset folder: ids, labels, splits, failures."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from embed.shards import read_failures
from pipelines.commands.files import files as files_command
from pipelines.datasets.dataset import Dataset
from pipelines.sources.table_import import images as table_images
from pipelines.sources.table_import.make import ImportResult, import_table
from pipelines.sources.table_import.rows import Columns
from tests.sources import (
    located,
    tables,
    write_csv,
    write_photos,
)


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


def test_a_table_beside_files_may_be_parquet(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    table = pa.table(
        {"path": ["a.jpg", "b.jpg"], "label": pa.array(["x", "y"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    import_table([tmp_path / "t.parquet"], tmp_path / "data", images=photos, test_every=0)
    assert tables(tmp_path / "data")["train"] == [["a", "0"], ["b", "1"]]


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
