"""New things without training: the photos go into index.csv, the model stays."""

from pathlib import Path

import pytest
from PIL import Image

from pipelines.datasets.dataset import Dataset
from pipelines.sources.folders import import_folders
from tests.datasets import view


def _photos(source: Path, name: str, landmark: int, count: int) -> None:
    (source / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(view(landmark, number)).save(source / name / f"p{number}.jpg")


def test_new_things_are_searched_and_the_training_set_stays(tmp_path: Path) -> None:
    source, folder = tmp_path / "photos", tmp_path / "data"
    _photos(source, "old bridge", 0, 5)
    import_folders(source, folder, test_every=5)
    before = (folder / "train.csv").read_bytes()
    _photos(source, "a new tower", 1, 5)
    counts = import_folders(source, folder, test_every=5, keep_training=True)
    assert counts == {"landmarks": 2, "index": 8, "test": 2, "non_landmark": 0}
    assert (folder / "train.csv").read_bytes() == before
    dataset = Dataset(folder)
    assert dataset.database_split == "index"
    assert dataset.names == {0: "old bridge", 1: "a new tower"}


def test_no_photo_trained_on_goes_into_the_test(tmp_path: Path) -> None:
    source, folder = tmp_path / "photos", tmp_path / "data"
    _photos(source, "bridge", 0, 4)
    import_folders(source, folder, test_every=5)
    trained = set(Dataset(folder).load_split("train").ids)
    # By name this one is first, which makes p3, trained on, the fifth.
    Image.fromarray(view(0, 7)).save(source / "bridge" / "another.jpg")
    counts = import_folders(source, folder, test_every=5, keep_training=True)
    assert counts["test"] == 0
    assert trained < set(Dataset(folder).load_split("index").ids)


def test_training_anew_searches_the_training_set_again(tmp_path: Path) -> None:
    source, folder = tmp_path / "photos", tmp_path / "data"
    _photos(source, "bridge", 0, 4)
    import_folders(source, folder, test_every=0)
    import_folders(source, folder, test_every=0, keep_training=True)
    import_folders(source, folder, test_every=0)
    assert Dataset(folder).database_split == "train"


def test_without_a_training_set_there_is_nothing_to_keep(tmp_path: Path) -> None:
    _photos(tmp_path / "photos", "bridge", 0, 2)
    with pytest.raises(FileNotFoundError):
        import_folders(tmp_path / "photos", tmp_path / "data", test_every=0, keep_training=True)
    assert not (tmp_path / "data" / "index.csv").exists()
