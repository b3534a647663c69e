"""Submission and solution tables: what is read, what is refused, what is written."""

import doctest
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classify_head import submission as module
from classify_head.gap import gap
from classify_head.label_scores import Choice
from classify_head.submission import load_solution, load_submission, match_answers
from embed.errors import InputError

EXPECTED = "expected one 'label score', as in '12 0.25', or an empty cell"


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_parquet(folder: Path, columns: dict[str, pa.Array]) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(module) == doctest.TestResults(failed=0, attempted=1)


def test_ids_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    text = "id,landmarks\nNA,\n001,12 0.5\nnan,7 -1e-3\nnull,0 2\n"
    ids, choice = load_submission(write(tmp_path, text))
    assert ids == ("NA", "001", "nan", "null")
    assert choice.labels.tolist() == [-1, 12, 7, 0]
    assert choice.confidences.tolist() == [0.0, 0.5, -0.001, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfid,landmarks\na,1 0.5\nb,\n",
        b"id,landmarks\r\na,1 0.5\r\nb,\r\n",
        b'"id","landmarks"\n"a","1 0.5"\n"b",""',
        b"landmarks,id\n1 0.5,a\n,b\n\n",
    ],
    ids=["byte order mark", "CRLF", "quotes", "columns swapped, blank last line"],
)
def test_the_dialects_of_csv_read_alike(tmp_path: Path, text: bytes) -> None:
    ids, choice = load_submission(write(tmp_path, text))
    assert ids == ("a", "b")
    assert choice.labels.tolist() == [1, -1]


@pytest.mark.parametrize(
    "cell",
    [
        "12",
        "12 0.5 13 0.4",
        "12 0.5 13",
        "x 0.5",
        "1.0 0.5",
        "-1 0.5",
        "12 nan",
        "12 inf",
        "12 1e999",
        "12 1_0",
        "12 ٣",
        "None",
        "9223372036854775808 1",
    ],
)
def test_a_malformed_answer_names_file_line_value_and_form(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, f"id,landmarks\na,1 0.5\nb,{cell}\n")
    with pytest.raises(ValueError) as caught:
        load_submission(path)
    assert str(caught.value) == f"{path}, line 3: landmarks '{cell}' of id 'b', {EXPECTED}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv is empty; it needs a header id,landmarks"),
        ("\n\n", "table.csv is empty"),
        ("id\na\n", r"has no column landmarks, only id; it needs a header id,landmarks"),
        ("image,landmarks\na,\n", "has no column id, only image, landmarks"),
        ("id,id,landmarks\na,a,\n", "two columns of one name: id, id, landmarks"),
        (
            "id,landmarks\na,1 0.5\n\na,1 0.4\n",
            "line 4: id 'a' was already at line 2; keep one row for each id",
        ),
        ("id,landmarks\n,1 0.5\n", "line 2: empty id"),
        ("id,landmarks\na\n", "line 2 has 1 cells, the header 2: a;"),
        ("id,landmarks\na,1,0.5\n", "line 2 has 3 cells, the header 2: a,1,0.5;"),
        ('id,landmarks\na,"1 0.5"x\n', "line 2: landmarks '1 0.5x'"),
        (b"id,landmarks\n\xff,1 0.5\n", "line 2 is not UTF-8 text"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_submission(write(tmp_path, text))


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(FileNotFoundError):
            load_submission(tmp_path / name)


def test_a_table_with_a_header_only_has_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "id,landmarks\n")
    answers = match_answers(*load_submission(path), load_solution(path))
    assert answers.query_ids == ()


def test_a_solution_has_several_labels_and_ignored_rows_are_not_read(tmp_path: Path) -> None:
    text = "id,landmarks,Usage\na,0 12,Public\nb,,Private\nc,None,Ignored\n"
    solution = load_solution(write(tmp_path, text))
    assert list(map(set, solution.truths)) == [{0, 12}, set(), set()]
    assert solution.usages == ("Public", "Private", "Ignored")


def test_a_solution_without_usage_is_scored_whole(tmp_path: Path) -> None:
    solution = load_solution(write(tmp_path, "id,landmarks\na,3\n"))
    assert solution.usages == ("Public",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,3,ignored", "line 2: Usage 'ignored', expected one of Public, Private, Ignored"),
        ("a,3,", "Usage ''"),
        ("a,3;4,Public", "line 2: landmarks '3;4' of id 'a', expected whole-number labels"),
        ("a,-1,Public", "landmarks '-1'"),
        ("a,None,Public", "landmarks 'None'"),
    ],
)
def test_a_malformed_solution_is_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_solution(write(tmp_path, f"id,landmarks,Usage\n{row}\n"))


def test_answers_match_by_id_and_leave_out_ignored_rows(tmp_path: Path) -> None:
    given_rows = "id,landmarks\nc,9 0.9\nb,4 0.5\na,\n"
    true_rows = "id,landmarks,Usage\na,1,Public\nb,4 5,Private\nc,8,Ignored\nd,2,Ignored\n"
    answers = match_answers(
        *load_submission(write(tmp_path, given_rows, "submission.csv")),
        load_solution(write(tmp_path, true_rows, "solution.csv")),
    )
    assert answers.query_ids == ("a", "b")
    assert answers.labels.tolist() == [-1, 4]
    assert list(map(set, answers.truths)) == [{1}, {4, 5}]
    assert gap(answers) == 0.5  # the sure answer to the ignored row would have made it 0.25


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("abcdX", r"has 1 id \('X'\) that the solution lacks; remove"),
        ("abcdVWXY", r"has 4 ids \('V', 'W', 'X', \.\.\.\) that"),
        ("bcd", r"lacks 1 id \('a'\) that the solution scores; add a row with empty"),
    ],
)
def test_unknown_and_missing_ids_are_refused(tmp_path: Path, ids: str, message: str) -> None:
    rows = "".join(f"{query_id},\n" for query_id in ids)
    table = load_submission(write(tmp_path, f"id,landmarks\n{rows}", "submission.csv"))
    solution = load_solution(write(tmp_path, "id,landmarks\na,\nb,1\nc,2\nd,3\n"))
    with pytest.raises(ValueError, match=message):
        match_answers(*table, solution)


@pytest.mark.parametrize(
    "text",
    [
        "id,landmarks\na,1 0.5 \nb,  \n",
        "id,landmarks\na, 1  0.5\nb,\n",
        "Id,Landmarks\na,1 0.5\nb,\n",
        "id,landmarks,note\na,1 0.5,sure\nb,,\n",
        ",id,landmarks\n0,a,1 0.5\n1,b,\n",
        "Unnamed: 0,id,landmarks\n0,a,1 0.5\n1,b,\n",
        "id;landmarks\na;1 0.5\nb;\n",
    ],
)
def test_what_the_site_of_the_challenge_takes_is_taken(tmp_path: Path, text: str) -> None:
    solution = load_solution(write(tmp_path, "id,landmarks\na,1\nb,2  3 \n", "solution.csv"))
    assert gap(match_answers(*load_submission(write(tmp_path, text)), solution)) == 0.5


def test_all_that_is_wrong_with_a_table_is_said_at_once(tmp_path: Path) -> None:
    rows = "a,None,Public\nb,1,public\na,2,Public\n,nan,Public\nc,9,Ignored\n"
    path = write(tmp_path, f"id,landmarks,Usage\n{rows}")
    with pytest.raises(InputError) as caught:
        load_solution(path)
    assert str(caught.value).splitlines() == [
        f"{path}, line 5: empty id, expected the id of a query",
        f"{path}, line 4: id 'a' was already at line 2; keep one row for each id",
        f"{path}, line 3: Usage 'public', expected one of Public, Private, Ignored",
        f"{path}, lines 2 and 5: landmarks 'None' of id 'a', expected whole-number labels, as in "
        "'12' or '12 40', or an empty cell",
    ]


def test_ids_that_look_the_same_are_the_same(tmp_path: Path) -> None:
    ids, _ = load_submission(write(tmp_path, "id,landmarks\nCafe\u0301,1 0.5\n"))
    assert ids == ("Caf\u00e9",)


ANSWERS = st.tuples(st.integers(-1, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
IDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1
).map(lambda text: unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@given(st.dictionaries(IDS, ANSWERS, max_size=5))
@settings(max_examples=50)
def test_what_is_saved_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, table: dict[str, tuple[int, float]]
) -> None:
    path = tmp_path_factory.mktemp("saved") / f"submission.{suffix}"
    labels = np.array([label for label, _ in table.values()], dtype=np.int64)
    scores = np.array([score for _, score in table.values()], dtype=np.float64)
    module.save_submission(path, list(table), Choice(labels, scores))
    ids, choice = load_submission(path)
    assert list(ids) == sorted(table)
    for query_id, label, score in zip(
        ids, choice.labels.tolist(), choice.confidences.tolist(), strict=True
    ):
        assert label == table[query_id][0]
        assert score == (0.0 if label == -1 else table[query_id][1])


def test_rows_are_sorted_and_float32_scores_keep_their_value() -> None:
    scores = np.array([0.1, 0.0, 1e-30], dtype=np.float32)
    choice = Choice(np.array([1, -1, 2]), scores.astype(np.float64))
    text = module.format_submission(["c", "b", "a"], choice)
    lines = text.splitlines()
    assert lines[:1] + lines[2:] == ["id,landmarks", "b,", "c,1 0.10000000149011612"]
    assert np.float32(lines[1].split(" ")[1]) == scores[2]


def test_a_refused_submission_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = write(tmp_path, "id,landmarks\na,\n")
    for name, label, score in (("a", 1, np.nan), ("a", -2, 0.5), ("a\nb", 1, 0.5), ("", 1, 0.5)):
        with pytest.raises(ValueError):
            module.save_submission(path, [name], Choice(np.array([label]), np.array([score])))
    assert [child.name for child in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "id,landmarks\na,\n"


def test_parquet_has_nulls_for_empty_cells_and_categories_for_text(tmp_path: Path) -> None:
    columns = {
        "id": pa.array(["001", "NA"]).dictionary_encode(),
        "landmarks": pa.array(["4 0.5", None], pa.large_string()),
    }
    ids, choice = load_submission(write_parquet(tmp_path, columns))
    assert ids == ("001", "NA")
    assert choice.labels.tolist() == [4, -1]


def test_malformed_parquet_is_refused(tmp_path: Path) -> None:
    text = pa.array(["1 0.5", "2"])
    with pytest.raises(ValueError, match="column id has type int64, expected text"):
        load_submission(write_parquet(tmp_path, {"id": pa.array([1, 2]), "landmarks": text}))
    with pytest.raises(ValueError, match="row 2: landmarks '2' of id 'b'"):
        load_submission(write_parquet(tmp_path, {"id": pa.array(["a", "b"]), "landmarks": text}))
    with pytest.raises(ValueError, match="has no column id, only landmarks"):
        load_submission(write_parquet(tmp_path, {"landmarks": text}))
    with pytest.raises(ValueError, match="not a Parquet file"):
        load_submission(write(tmp_path, "id,landmarks\n", "other.parquet"))
