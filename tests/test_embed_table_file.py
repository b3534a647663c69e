"""Tables as spreadsheets and pandas write them are read alike; what is none names its place."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.errors import InputError
from embed.table_file import as_text, name_rows, parse_whole, read_table

COLUMNS = ("id", "landmark_id")
ROWS = {"id": ["a", "NA"], "landmark_id": ["007", ""]}
COMMAS = "id,landmark_id\na,007\nNA,\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        COMMAS,
        COMMAS.replace(",", ";"),
        COMMAS.replace(",", "\t"),
        COMMAS.replace("\n", "\r\n"),
        COMMAS.replace("\n", "\r"),
        "\n\n" + COMMAS.replace("\nNA", "\n\nNA"),
        COMMAS.removesuffix("\n"),
        '"id";"landmark_id"\n"a";"007"\n"NA";""\n',
        "Id, Landmark_ID \na,007\nNA,\n",
        ",landmark_id,note; more,id\n0,007,x;y,a\n1,,,NA\n",
        COMMAS.encode("utf-8-sig"),
        COMMAS.replace(",", "\t").encode("utf-16"),
        b"\xfe\xff" + COMMAS.encode("utf-16-be"),
    ],
)
def test_a_table_is_read_as_it_is_saved_anywhere(content: str | bytes, tmp_path: Path) -> None:
    table = read_table(write(tmp_path, content), COLUMNS)
    assert table.to_pydict() == ROWS


def test_a_separator_in_the_names_of_other_columns_does_not_mislead(tmp_path: Path) -> None:
    path = write(tmp_path, "id,a;b;c;d\nx,1\n")
    assert read_table(path, ["id"], others=True).to_pydict() == {"id": ["x"], "a;b;c;d": ["1"]}
    assert read_table(path, ["id"], ["label"]).column_names == ["id"]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_header_alone_is_a_table_without_rows(end: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path, f"id;landmark_id{end}"), COLUMNS)
    assert (table.num_rows, table.column_names) == (0, ["id", "landmark_id"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{path} is empty; it needs a header id,landmark_id"),
        (b"\n\n", "{path} is empty; it needs a header id,landmark_id"),
        (
            b"id,label\na,1\n",
            "{path} has no column landmark_id, only id, label; it needs a header id,landmark_id",
        ),
        (
            b"id,id,landmark_id\na,a,1\n",
            "{path} has two columns of one name: id, id, landmark_id; rename one of them",
        ),
        (
            b"id;landmark_id\na;1\n\nb;2;3\n",
            "{path}, line 4 has 3 cells, the header 2: b;2;3; give each row a cell for each "
            "column, in quotes where it holds a separator",
        ),
        (
            b"id,landmark_id\na,1\ncaf\xe9,2\n",
            "{path}, line 3 is not UTF-8 text; save the table as CSV in UTF-8",
        ),
        (
            b"caf\xe9,landmark_id\na,1\n",
            "{path}, line 1 is not UTF-8 text; save the table as CSV in UTF-8",
        ),
    ],
)
def test_what_is_no_table_says_where(content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_table(path, COLUMNS)
    assert str(caught.value) == message.format(path=path)


def test_a_missing_file_and_a_file_that_is_no_parquet_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no table at .*none\.csv"):
        read_table(tmp_path / "none.csv", COLUMNS)
    (tmp_path / "t.parquet").write_text("id\na\n")
    with pytest.raises(InputError, match=r"t\.parquet is not a Parquet file"):
        read_table(tmp_path / "t.parquet", COLUMNS)


def test_columns_of_parquet_become_text_that_csv_would_hold(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    column = {
        "whole": pa.array([1.0, None, float("nan")]),
        "parts": pa.array([1.5, 2.0, None]),
        "kinds": pa.array(["a", None, "a"]).dictionary_encode(),
        "apart": pa.array(["Cafe\u0301", "", ""]),
    }
    pq.write_table(pa.table(column), path)
    table = read_table(path, list(column))
    texts = {name: as_text(table[name], name, path).to_pylist() for name in column}
    assert texts == {
        "whole": ["1", "", ""],
        "parts": ["1.5", "2", ""],
        "kinds": ["a", "", "a"],
        "apart": ["Caf\u00e9", "", ""],
    }
    exact = as_text(table["apart"], "apart", path, exact=True)
    assert exact.to_pylist() == ["Cafe\u0301", "", ""]
    with pytest.raises(InputError, match=r"column id holds list<.*it needs text or whole numbers"):
        as_text(pa.chunked_array([[[1]]]), "id", path)


def test_whole_numbers_may_have_the_point_of_pandas_and_no_digits_behind_it() -> None:
    texts = ["0", "100.0", "7.", " 3 ", "-1", "1.5", "1e3", "", "9" * 19, "\u0661", "1 2", "nan"]
    values, valid = parse_whole(pa.chunked_array([texts]))
    assert values[valid].tolist() == [0, 100, 7, 3, -1]
    assert valid.tolist() == [True] * 5 + [False] * 7


def test_rows_are_named_by_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '\nid,landmark_id\na,1\n\n"b\nb",1\nc,1\nd,1\ne,1\n')
    assert name_rows(path, [0]) == "line 3"
    assert name_rows(path, [1, 2]) == "lines 5 and 7"
    assert name_rows(path, [0, 1, 2]) == "lines 3, 5 and 7"
    assert name_rows(path, [0, 1, 2, 3, 4]) == "lines 3, 5, 7 and 2 more"
    assert name_rows(tmp_path / "t.parquet", [0, 4]) == "rows 1 and 5"
    write(tmp_path, f"id,landmark_id\n{'a' * 200_000},1\nb,2\n")  # more than the module csv takes
    assert name_rows(path, [1]) == "row 2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (COMMAS.encode("utf-16-le"), "is no text, or UTF-16 without a byte order mark"),
        (COMMAS.replace(",", "|"), r"separate by commas, semicolons or tabs, not by '\|'"),
    ],
)
def test_what_is_written_otherwise_is_told_so(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_table(write(tmp_path, content), COLUMNS)


def test_the_line_in_which_excel_names_its_separator_is_no_header(tmp_path: Path) -> None:
    path = write(tmp_path, "sep=;\n" + COMMAS.replace(",", ";"))
    assert read_table(path, COLUMNS).to_pydict() == ROWS
    assert name_rows(path, [0, 1]) == "lines 3 and 4"
