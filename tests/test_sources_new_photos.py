"""Photos that are to be added: what they are said to show, and what they are called."""

from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.datasets.naming import name_photo
from pipelines.sources.new_photos import (
    NewPhoto,
    Said,
    list_of_classes,
    list_of_one,
    list_of_table,
)
from tests.images import encode, photo


def place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(photo(16, 16), "JPEG"))
    return path


def test_photos_and_folders_of_one_landmark(tmp_path: Path) -> None:
    single, inner = place(tmp_path / "a.jpg"), place(tmp_path / "more" / "b.jpg")
    said = Said(7, "Caf\xe9")
    found = list_of_one([single, tmp_path / "more"], 7, "Cafe\u0301")
    assert found == [NewPhoto(single, said), NewPhoto(inner, said)]


def test_a_folder_a_class_without_the_pool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mill, bridge = place(tmp_path / "mill" / "1.jpg"), place(tmp_path / "bridge" / "1.jpg")
    place(tmp_path / "_none" / "1.jpg")
    found = list_of_classes([tmp_path])
    assert found == [
        NewPhoto(bridge, Said(name="bridge")),
        NewPhoto(mill, Said(name="mill")),
    ]
    assert "_none" in caplog.text
    with pytest.raises(InputError, match="--label NUMBER, or --name NAME"):
        list_of_classes([tmp_path / "mill"])


def test_a_table_names_files_and_what_they_show(tmp_path: Path) -> None:
    one, two = place(tmp_path / "in" / "one.jpg"), place(tmp_path / "two.png")
    table = tmp_path / "new.csv"
    table.write_text("id,path,landmark_id,name\n,in/one.jpg,3,\ntwo,,,Mill\n")
    assert list_of_table(table) == [
        NewPhoto(one, Said(3)),
        NewPhoto(two, Said(None, "Mill"), "two"),
    ]
    table.write_text("path;name\none.jpg;Mill\n")
    assert list_of_table(table, tmp_path / "in") == [NewPhoto(one, Said(name="Mill"))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("landmark_id\n1\n", "neither column id nor path"),
        ("id\na\n", "neither column landmark_id nor name"),
        ("path,landmark_id\na.jpg,1\n,2\n", "line 3: no id and no path"),
        ("path,landmark_id\na.jpg,-1\n", "line 2: its landmark_id"),
        ("path,landmark_id\na.jpg,x\n", "line 2: its landmark_id"),
        (f"path,landmark_id\na.jpg,{2**63 - 1}\n", "line 2: its landmark_id"),
        (f"path,landmark_id\na.jpg,{2**70}\n", "line 2: its landmark_id"),
        ("path,landmark_id\n", "has no rows"),
        ("path,landmark_id,name\na.jpg,,\n", "line 2: neither landmark_id nor name"),
        ("id,landmark_id\na/b,1\n", "line 2: its id cannot be the name of a file"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        list_of_table(tmp_path / "new.csv")


def test_ids_are_those_of_a_dataset_of_the_same_folders() -> None:
    taken: set[str] = set()
    for path, expected in (
        ("a-b/c.jpg", "a-b-c"),
        ("a/b-c.PNG", "a-b-c_png"),
        ("x/a-b/c.png", "a-b-c_png_png"),
    ):
        found = name_photo(Path(path), taken)
        assert found == expected
        taken.add(found)
