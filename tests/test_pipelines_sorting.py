"""Links to photos by landmark: safe names, none that is there changed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import InputError
from embed.printable import printable
from pipelines.answers.answer import Answer
from pipelines.reports.sorting import UNKNOWN, UNREADABLE, SortedPhotos, name_folders, name_link

HOSTILE = [
    *("../../etc", "/etc/passwd", "..", ".", ".hidden", "a\\b", "a\0b", "a\nb", "\x1b[31m", ""),
    *("x" * 5000, "\u202etxt", "_unknown", "_UNREADABLE", "caf\udce9", "  ", "con/../con"),
]


def answer(photo: Path, label: int | None, error: str = "") -> Answer:
    return Answer(
        str(photo),
        label,
        f"thing {label}",
        0.9 if label else 0.1,
        "" if label else "no",
        error=error,
    )


@given(st.lists(st.one_of(st.none(), st.text(), st.sampled_from(HOSTILE)), max_size=12))
def test_each_landmark_has_a_folder_of_its_own_that_stays_inside(names: list[str | None]) -> None:
    folders = name_folders(list(enumerate(names)))
    assert sorted(folders) == list(range(len(names)))
    assert len({name.casefold() for name in folders.values()}) == len(names)
    for name in folders.values():
        assert name and not name.startswith(".") and "/" not in name and "\\" not in name
        assert printable(name) == name
        assert len(name.encode()) <= 255
        assert name.casefold() not in (UNKNOWN, UNREADABLE)


def test_folders_do_not_depend_on_the_order_of_the_landmarks() -> None:
    named = [(label, name) for label, name in enumerate(["a/b", "A_b", "a_b-1", "c", None])]
    assert name_folders(named) == name_folders(named[::-1])
    assert name_folders(named)[3] == "c"


@pytest.mark.parametrize(
    "name", ["../../x.jpg", ".bashrc", "a\nb.JPG", "x" * 250 + ".jpg", "caf\udce9.jpg"]
)
def test_a_link_has_a_safe_name(name: str) -> None:
    found = name_link(Path(name))
    assert "/" not in found and not found.startswith(".") and len(found.encode()) <= 255
    found.encode("utf-8")


def test_photos_are_linked_by_landmark_and_the_others_apart(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out" / "sorted"
    photos.mkdir()
    labels = {"a.jpg": 1, "b.jpg": 2, "c.jpg": None, "d.jpg": 1}
    place = SortedPhotos(out, [(1, "Old mill"), (2, "../up")]).place
    for name, label in labels.items():
        (photos / name).write_text(name)
        place(answer(photos / name, label))
    (photos / "e.jpg").write_text("broken")
    place(Answer(str(photos / "e.jpg"), error="broken"))
    place(Answer(str(photos / "absent.jpg"), error="missing"))
    found = {str(p.relative_to(out)): p for p in out.rglob("*") if p.is_symlink()}
    assert sorted(found) == [
        *("Old mill/a.jpg", "Old mill/d.jpg", "_._up/b.jpg"),
        *("_unknown/c.jpg", "_unreadable/e.jpg"),
    ]
    for path in found.values():
        assert path.resolve() == photos / path.name
        assert not os.path.isabs(os.readlink(path))
    (tmp_path / "out").rename(tmp_path / "moved")  # photos and links keep their distance
    assert (tmp_path / "moved" / "sorted" / "Old mill" / "a.jpg").read_text() == "a.jpg"


def test_nothing_that_is_there_is_changed(tmp_path: Path) -> None:
    out, one, two = tmp_path / "out", tmp_path / "1" / "a.jpg", tmp_path / "2" / "a.jpg"
    for photo in (one, two):
        photo.parent.mkdir()
        photo.write_text(str(photo))
    (out / "mill").mkdir(parents=True)
    (out / "mill" / "a.jpg").write_text("mine")
    for _ in range(2):  # the second time all is there
        place = SortedPhotos(out, [(1, "mill")]).place
        for photo in (one, two):
            place(answer(photo, 1))
    names = sorted(os.listdir(out / "mill"))
    assert names == ["a-2.jpg", "a-3.jpg", "a.jpg"]
    assert [(out / "mill" / name).read_text() for name in names] == [str(one), str(two), "mine"]


def test_what_cannot_be_linked_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; name a folder"):
        SortedPhotos(tmp_path / "file", [])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mill").touch()
    photo = tmp_path / "a.jpg"
    photo.touch()
    with pytest.raises(InputError, match=r"a\.jpg: no link in .*mill"):
        SortedPhotos(tmp_path / "out", [(1, "mill")]).place(answer(photo, 1))
