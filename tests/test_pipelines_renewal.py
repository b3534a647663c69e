"""A dataset folder is the old one or the new one, wherever the change is interrupted."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.datasets import renewal
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.renewal import NEXT, READY, Renewal, renewing

OLD = {
    "train.csv": "id,landmark_id\na,0\nb,0\n",
    "test.csv": "id\nq\n",
    "images/a.png": "old a",
    "images/b.jpg": "old b",
    "notes.csv": "mine",
}
NEW = {
    "train.csv": "id,landmark_id\na,0\nc,0\n",
    "images/a.jpg": "new a",
    "images/b.jpg": "old b",
    "images/c.jpg": "new c",
    "notes.csv": "mine",
}


def read(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, text in OLD.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def fill(new: Renewal) -> None:
    (new.waiting / "train.csv").write_text(NEW["train.csv"])
    for name in ("a.jpg", "c.jpg"):
        place = new.place_image(new.folder / "images" / name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(NEW[f"images/{name}"])


def renew(data: Path) -> None:
    with renewing(data, ["train", "test"]) as new:
        fill(new)


def test_new_files_take_the_place_of_the_old_ones(data: Path) -> None:
    renew(data)
    assert read(data) == NEW


def test_what_fails_leaves_the_old_dataset_and_no_more_than_new_images(data: Path) -> None:
    with pytest.raises(KeyboardInterrupt), renewing(data, ["train", "test"]) as new:
        fill(new)
        raise KeyboardInterrupt
    assert read(data) == OLD | {"images/c.jpg": "new c"}
    renew(data)
    assert read(data) == NEW


def test_what_a_killed_process_left_is_no_part_of_the_next(data: Path) -> None:
    (data / NEXT).mkdir()
    (data / NEXT / "validation.csv").write_text("stale")
    renew(data)
    assert read(data) == NEW


@pytest.mark.parametrize("step", range(3))
def test_who_opens_the_dataset_finishes_what_was_interrupted_when_it_was_ready(
    step: int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def stop(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            steps.append(function)
            if len(steps) > step:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "move", stop(shutil.move))
        patch.setattr(renewal, "_remove_others", stop(renewal._remove_others))
        renew(data)
    assert (data / READY).is_dir()
    assert Dataset(data).load_split("train").ids == ("a", "c")
    assert read(data) == NEW
