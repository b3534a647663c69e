"""Who made a dataset folder: nothing is written over somebody's own tables."""

from pathlib import Path

import pytest

from embed.errors import InputError
from pipelines.datasets.origin import claim
from pipelines.sources import demo
from pipelines.sources.folders import import_folders


def test_an_empty_folder_is_claimed_once_and_for_good(tmp_path: Path) -> None:
    claim(tmp_path / "new", {"demo city": {"seed": 0}})
    claim(tmp_path / "new", {"demo city": {"seed": 0}})
    (tmp_path / "new" / "images").mkdir()  # nothing came of it yet
    claim(tmp_path / "new", {"folders": "a folder a class"})
    claim(tmp_path / "new", {"demo city": {"seed": 0}})
    (tmp_path / "new" / "images" / "a.jpg").touch()
    with pytest.raises(InputError, match=r"made with demo city: .*seed.*name another folder"):
        claim(tmp_path / "new", {"demo city": {"seed": 1}})


@pytest.mark.parametrize("name", ["index.csv", "train.parquet"])
def test_tables_of_nobody_known_are_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(InputError, match="holds your own tables"):
        import_folders(_source(tmp_path), tmp_path, test_every=0)
    with pytest.raises(InputError, match="holds your own tables"):
        demo.render_demo(tmp_path)
    assert (tmp_path / name).read_bytes() == b"mine"


def _source(folder: Path) -> Path:
    photo = folder / "source" / "tower" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"\xff\xd8\xff")
    return folder / "source"


class Interrupted(BaseException):
    """What stands for kill -9 here."""


@pytest.mark.parametrize("moment", ["render_city", "contact_sheet"])
def test_an_interrupted_demo_goes_on(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def render(folder: Path, *_: object, **__: object) -> None:
        done.append("render")
        (folder / "train.csv").write_text("id,landmark_id\n")

    def draw(_: Path, path: Path) -> None:
        done.append("sheet")
        path.write_bytes(b"picture")

    def interrupt(*_: object, **__: object) -> None:
        raise Interrupted

    monkeypatch.setattr(demo, "render_city", render)
    monkeypatch.setattr(demo, "contact_sheet", draw)
    with monkeypatch.context() as patch:
        patch.setattr(demo, moment, interrupt)
        with pytest.raises(Interrupted):
            demo.render_demo(tmp_path)
    demo.render_demo(tmp_path)
    assert done == ["render", "sheet"]
    demo.render_demo(tmp_path)  # nothing is left to do
    assert done == ["render", "sheet"]
    assert (tmp_path / "contact_sheet.jpg").read_bytes() == b"picture"
