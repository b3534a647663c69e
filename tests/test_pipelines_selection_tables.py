"""Tables of a dataset as a selection reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.datasets.selection.tables import (
    drop_images,
    drop_landmarks,
    find_repeated,
    find_unknown,
    load_groups,
    make_solution,
    number_groups,
    read_images,
)
from tests.datasets import write_table

GROUPS = pa.table({"id": ["a", "c", "d", "b"], "group": ["x", "y", "y", "x"]})


def column(*ids: str) -> pa.ChunkedArray:
    return pa.chunked_array([list(ids)], pa.string())


def solution(*landmarks: str) -> pa.Table:
    ids = [f"q{place}" for place in range(len(landmarks))]
    return pa.table({"id": ids, "landmarks": pa.array(landmarks, pa.string())})


def test_all_columns_of_a_table_are_read(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", "id,url,landmark_id", ["007,http://x,5", "NA,,12"])
    rows = read_images(tmp_path / "train.csv")
    assert rows.to_pydict() == {
        "id": ["007", "NA"],
        "url": ["http://x", ""],
        "landmark_id": [5, 12],
    }


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"]}, "no column landmark_id, only id"),
        ({"id": ["a", None], "landmark_id": [1, 2]}, "row 2 has no id; give it one"),
        ({"id": ["a", "b"], "landmark_id": [None, 2]}, "row 1 has no landmark_id"),
        ({"id": pa.array([], pa.string()), "landmark_id": pa.array([], pa.int64())}, "no rows"),
        ({"id": ["a"], "landmark_id": [-3]}, "has landmark_id -3; they are integers of 0 or more"),
        ({"id": ["a", "b", "a"], "landmark_id": [1, 1, 2]}, "1 ids more than once, .* 'a'; keep"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=said):
        read_images(tmp_path / "train.parquet")


def test_repeated_ids_are_found_once_each_in_order() -> None:
    ids = pa.chunked_array([["d", "a", "b"], ["a", "d", "d", "c"]])
    assert find_repeated(ids).to_pylist() == ["d", "a"]
    assert find_repeated(column()).to_pylist() == []


def test_groups_are_none_where_they_were_not_looked_for(tmp_path: Path) -> None:
    assert load_groups(tmp_path) is None
    pq.write_table(GROUPS, tmp_path / "groups.parquet")
    assert load_groups(tmp_path) == GROUPS


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a", "a"], "group": [1, 2]}, "1 images are in several groups"),
        ({"id": ["a"], "group": pa.array([None], pa.int64())}, "1 rows have none"),
        ({"id": ["a"]}, "is not a Parquet file of id and group"),
    ],
)
def test_groups_that_are_none_are_refused(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "groups.parquet")
    with pytest.raises(ValueError, match=said):
        load_groups(tmp_path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "groups.parquet").write_text("id,group\na,1\n")
    with pytest.raises(ValueError, match="is not a Parquet file of id and group"):
        load_groups(tmp_path)


def test_images_get_the_number_of_their_group() -> None:
    ids = pa.chunked_array([["b", "e"], ["c", "a"]])
    assert number_groups(ids, GROUPS).tolist() == [0, -1, 1, 0]
    assert number_groups(column("z"), GROUPS[:0]).tolist() == [-1]


def test_rows_of_images_and_of_their_near_duplicates_are_dropped() -> None:
    rows = pa.table({"id": ["a", "b", "c", "d", "e"]})
    assert drop_images(rows, column("a", "e"), None)["id"].to_pylist() == ["b", "c", "d"]
    assert drop_images(rows, column("a", "e"), GROUPS)["id"].to_pylist() == ["c", "d"]
    assert drop_images(rows, column("gone"), GROUPS) == rows


def test_rows_of_some_landmarks_are_kept() -> None:
    rows = pa.table({"id": ["a", "b", "c"], "landmark_id": [3, 4, 3]})
    assert drop_landmarks(rows, np.array([3, 9]))["id"].to_pylist() == ["b"]


def test_a_solution_says_what_is_scored() -> None:
    made = make_solution(pa.table({"id": ["a", "b"], "landmark_id": [3, 40]}))
    assert made.to_pydict() == {
        "id": ["a", "b"],
        "landmarks": ["3", "40"],
        "Usage": ["Public", "Public"],
    }


def test_queries_are_unknown_if_none_of_their_landmarks_is_there() -> None:
    queries = solution("3", "", "4", "4 3", "4 44")
    assert find_unknown(queries, np.array([3, 5])).tolist() == [False, False, True, False, True]
    assert find_unknown(solution(), np.array([3])).tolist() == []
    assert find_unknown(solution("", "7"), np.array([], np.int64)).tolist() == [False, True]
    usage = pa.array(["Public", "Ignored"])
    assert find_unknown(
        solution("7", "none").append_column("Usage", usage), np.array([3])
    ).tolist() == [True, False]


def test_a_solution_without_landmarks_is_refused() -> None:
    with pytest.raises(ValueError, match="no column landmarks, only id"):
        find_unknown(pa.table({"id": ["q"]}), np.array([3]))


def test_variants_and_their_photo_are_never_divided(tmp_path: Path) -> None:
    write_table(tmp_path / "variants.csv", "id,image_id", ["a~1,a", "a~2,a", "b~1,b", "c~1,c"])
    alone = load_groups(tmp_path)
    assert alone is not None
    ids = column("a", "a~1", "a~2", "b", "b~1", "c~1", "d")
    assert number_groups(ids, alone).tolist() == [0, 0, 0, 1, 1, 2, -1]
    near = pa.table({"id": ["a~2", "b", "d"], "group": [7, 7, 8]})
    pq.write_table(near, tmp_path / "groups.parquet")
    joined = load_groups(tmp_path)
    assert joined is not None
    found = number_groups(ids, joined).tolist()
    assert found[0] == found[1] == found[2] == found[3] == found[4] != found[5] != found[6]
