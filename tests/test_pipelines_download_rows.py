"""Tables of addresses as people have them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.datasets.naming import MAX_ID
from pipelines.sources.download.rows import MAX_URL, find_hosts, read_tables

LABELLED = frozenset({"train"})
URL = "http://a.b/c.jpg"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_train(path: Path) -> pa.Table:
    return read_tables({"train": path}, LABELLED)["train"]


def test_a_table_as_kaggle_gives_it_out_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.csv",
        '"id","url","landmark_id"',
        f'"0007","{URL}","12"',
        f"NA,  {URL}?x=1 ,0",
    )
    assert read_train(path).to_pylist() == [
        {"id": "0007", "url": URL, "landmark_id": 12, "refusal": None},
        {"id": "NA", "url": f"{URL}?x=1", "landmark_id": 0, "refusal": None},
    ]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_columns_may_come_in_any_order_with_others_between(start: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"{start}url,author,landmark_id,id", f"{URL},me,5,a")
    row = {"id": "a", "url": URL, "landmark_id": 5, "refusal": None}
    assert read_train(path).to_pylist() == [row]


def test_a_table_of_a_european_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"Id;Url;Landmark_id\r\na;{URL}?x=1,2;5.0\r\n", encoding="utf-16")
    row = {"id": "a", "url": f"{URL}?x=1,2", "landmark_id": 5, "refusal": None}
    assert read_train(path).to_pylist() == [row]


def test_a_parquet_table_is_read_as_its_csv(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "url": [URL, None], "landmark_id": [5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    rows = read_train(tmp_path / "t.parquet")
    assert rows["refusal"].to_pylist() == [None, "no_landmark"]
    path = write(tmp_path / "t.csv", "id,url,landmark_id", f"a,{URL},5", "b,,")
    assert read_train(path) == rows


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("", "no_url"),
        ("None", "no_url"),
        ("a.b/c.jpg", "bad_url"),
        ("http:///c.jpg", "bad_url"),
        ("ftp://a.b/c.jpg", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("data:image/png;base64;AA", "bad_url"),
        (f"http://a.b/{'c' * MAX_URL}", "bad_url"),
        ("HTTPS://A.B/c.jpg", None),
        ("http://a.b", None),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url: str, refusal: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,url,landmark_id", f"a,{url},5")
    assert read_train(path)["refusal"].to_pylist() == [refusal]


@pytest.mark.parametrize("label", ["None", "", "-1", "1.5", "x", "9" * 19])
def test_a_row_without_a_landmark_is_refused_not_lost(label: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,url,landmark_id", f"a,{URL},{label}", f"b,{URL},7")
    rows = read_train(path)
    assert rows["refusal"].to_pylist() == ["no_landmark", None]
    assert rows["landmark_id"].to_pylist() == [None, 7]


def test_queries_need_no_label(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,url", f"a,{URL}")
    rows = read_tables({"test": path}, LABELLED)["test"]
    assert rows.to_pylist() == [{"id": "a", "url": URL, "landmark_id": None, "refusal": None}]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("id,landmark_id", "a,1"), "no column url, only id, landmark_id; it needs a header id,"),
        (("id,url,landmark_id",), "has no rows"),
        (("",), "is empty; it needs a header id,url,landmark_id"),
        (("id,url,landmark_id", "a,b"), "line 2 has 2 cells, the header 3: a,b"),
        (("id,url,landmark_id", f"a,{URL},1", f"a,{URL},1"), "1 repeated ids, the first is 'a'"),
        (("id,url,landmark_id", f",{URL},1"), "1 ids cannot be file names, the first is ''"),
        (("id,url,landmark_id", f"a/b,{URL},1"), "the first is 'a/b'"),
        (("id,url,landmark_id", f".a,{URL},1"), "the first is '.a'"),
        (("id,url,landmark_id", f"{'a' * (MAX_ID + 1)},{URL},1"), "cannot be file names"),
        (("id,url,landmark_id", f'"a\nb",{URL},1'), "the first is 'a b'"),
    ],
)
def test_a_table_that_cannot_become_a_dataset_is_refused(
    lines: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_train(write(tmp_path / "t.csv", *lines))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_that_is_no_table_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff\xfe\n\xff" * 10)
    with pytest.raises(ValueError, match=name):
        read_train(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no table at"):
        read_train(tmp_path / "other.csv")


def test_an_image_that_is_asked_about_must_not_be_known(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "id,url,landmark_id", f"a,{URL},1")
    test = write(tmp_path / "test.csv", "id,url", f"b,{URL}", f"a,{URL}")
    with pytest.raises(ValueError, match=r"1 images of .*test\.csv are in .*train\.csv, too"):
        read_tables({"train": train, "test": test}, LABELLED)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://A.b/c", "a.b"),
        ("https://a.b:8080?x", "a.b:8080"),
        ("http://[::1]:5/c", "[::1]:5"),
        ("http://a.b#c", "a.b"),
        ("http://a.b\\c", "a.b"),
        ("gopher://a.b", None),
        ("http://", None),
    ],
)
def test_urls_are_grouped_by_host(url: str, host: str | None) -> None:
    assert find_hosts(pa.chunked_array([[url]])).to_pylist() == [host]
