"""Tables that make no sense are refused, and odd names imported or told."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.errors import InputError
from embed.shards import read_failures
from pipelines.datasets.dataset import Dataset
from pipelines.sources.table_import.make import import_table
from pipelines.sources.table_import.rows import Columns
from tests.sources import JPEG, PNG, located, tables, write_csv, write_parquet, write_photos


def test_odd_values_survive(tmp_path: Path) -> None:
    """Ids that look like something else, names with commas, quotes, line breaks, a BOM."""
    photos = write_photos(tmp_path / "photos", "007.jpg", "NA.jpg", "1e5.jpg", "ö.jpg")
    text = '\ufeffid,name\n007,"Köln, ""Dom"""\nNA,null\n1e5,"two\nlines"\nö,NA\n'
    import_table([write_csv(tmp_path, text)], tmp_path / "data", images=photos, test_every=0)
    dataset = Dataset(tmp_path / "data")
    dataset.check_tables()
    assert dataset.load_split("train").ids == ("007", "NA", "1e5", "ö")
    assert set(dataset.names.values()) == {'Köln, "Dom"', "null", "two lines", "NA"}


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
