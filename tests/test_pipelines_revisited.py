"""A published ground truth and its photos become a dataset folder."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from embed.errors import InputError
from pipelines.commands.revisited import revisited as command
from pipelines.datasets.dataset import Dataset
from pipelines.sources.revisited.make import import_revisited
from pipelines.sources.revisited.truth import load_truth
from tests.datasets import cairn, make_dataset, make_recipe_file, options
from tests.revisited import (
    IMAGES,
    QUERIES,
    changed,
    make_values,
    write_photos,
    write_truth,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with gnd_tiny.pkl and jpg/."""
    folder = tmp_path_factory.mktemp("source")
    write_truth(folder)
    write_photos(folder)
    return folder


def test_the_dataset_has_the_database_the_queries_and_the_truth(
    source: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    counts = import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    assert counts == {"queries": 3, "images": 10, "distractors": 0}
    dataset = Dataset(data)
    dataset.check()
    index = dataset.load_split("index")
    assert (index.ids, dataset.load_split("test").ids) == (IMAGES, QUERIES)
    named = [dataset.names[label] for label in index.landmark_ids.tolist()]
    assert named == ["all_souls"] * 4 + ["radcliffe"] * 3 + ["oxford"] * 3
    train = dataset.load_split("train")
    assert {dataset.names[label] for label in train.landmark_ids.tolist()} == {"not labelled"}
    assert os.path.samefile(
        data / "images/all_souls_000001.jpg", source / "jpg/all_souls_000001.jpg"
    )
    truth = load_truth(data / "ground_truth.parquet")
    assert truth["all_souls_000099"] == {
        "easy": ["all_souls_000001", "all_souls_000002"],
        "hard": ["all_souls_000003"],
        "junk": ["all_souls_000004"],
    }
    assert truth["oxford_000999"] == {"easy": [], "hard": [], "junk": ["oxford_000500"]}
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()} == before


def test_queries_are_cropped_without_loss(source: Path, tmp_path: Path) -> None:
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", tmp_path / "data")
    path = Dataset(tmp_path / "data").locate("all_souls_000099")
    assert isinstance(path, Path)
    crop = np.asarray(Image.open(path))
    whole = np.asarray(Image.open(source / "jpg/all_souls_000099.jpg"))
    # Python rounds 4.5 to the even 4, as Pillow's crop does.
    np.testing.assert_array_equal(crop, whole[2:95, 4:90])


def test_a_turned_query_is_cropped_as_stored_and_turned_upright(
    source: Path, tmp_path: Path
) -> None:
    """The published code does not read EXIF, so boxes are of the stored pixels."""
    pixels = np.arange(96 * 96 * 3, dtype=np.uint32).reshape(96, 96, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    photos = write_photos(tmp_path, (*IMAGES, *QUERIES[1:]))
    (photos / "all_souls_000099.png").write_bytes(stream.getvalue())
    import_revisited(source / "gnd_tiny.pkl", photos, tmp_path / "data")
    crop = Image.open(tmp_path / "data/images/all_souls_000099.png")
    assert 0x0112 not in crop.getexif()
    np.testing.assert_array_equal(np.asarray(crop), np.rot90(pixels[2:95, 4:90], -1))


def test_a_query_whose_photo_is_in_the_database_has_an_id_of_its_own(
    source: Path, tmp_path: Path
) -> None:
    values = make_values(qimlist=[IMAGES[0], IMAGES[0], QUERIES[2]])
    path = write_truth(tmp_path, values)
    import_revisited(path, source / "jpg", tmp_path / "data")
    dataset = Dataset(tmp_path / "data")
    dataset.check()
    names = (f"{IMAGES[0]}-query", f"{IMAGES[0]}-query-query", QUERIES[2])
    assert dataset.load_split("test").ids == names
    assert list(load_truth(tmp_path / "data/ground_truth.parquet")) == list(names)
    assert len({Path(str(dataset.locate(name))).read_bytes() for name in names}) == 3


def test_photos_may_lie_in_folders_as_the_archives_have_them(source: Path, tmp_path: Path) -> None:
    for path in (source / "jpg").iterdir():
        folder = tmp_path / "archive" / path.stem.rpartition("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / path.name)
    values = make_values(imlist=[f"{name}.jpg" for name in IMAGES])
    import_revisited(write_truth(tmp_path, values), tmp_path / "archive", tmp_path / "data")
    assert Dataset(tmp_path / "data").load_split("index").ids == IMAGES
    os.link(source / "jpg/oxford_000500.jpg", tmp_path / "archive/oxford_000500.jpg")
    with pytest.raises(ValueError, match=r"'oxford_000500.jpg' may be .*; keep one of them"):
        import_revisited(write_truth(tmp_path, values), tmp_path / "archive", tmp_path / "data")


def test_distractors_are_searched_too(source: Path, tmp_path: Path) -> None:
    for name in ("0a/x.jpg", "0b/x.jpg", os.fsdecode(b"0b/\xe9.jpg")):  # the last is left out
        (tmp_path / "r1m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r1m" / name).write_bytes((source / "jpg/oxford_000500.jpg").read_bytes())
    truth, photos = source / "gnd_tiny.pkl", source / "jpg"
    counts = import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "r1m")
    assert counts["distractors"] == 2
    dataset = Dataset(tmp_path / "data")
    index = dataset.load_split("index")
    assert index.ids == (*IMAGES, "0a-x", "0b-x")
    assert dataset.names[int(index.landmark_ids[-1])] == "distractor"
    assert dataset.load_split("train").ids == IMAGES
    (tmp_path / "r1m/0a-x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="two images would be called '0a-x'"):
        import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "r1m")
    with pytest.raises(FileNotFoundError, match="no folder of distractors at"):
        import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "absent")


def test_what_is_missing_or_not_ours_is_refused(source: Path, tmp_path: Path) -> None:
    truth = source / "gnd_tiny.pkl"
    some = write_photos(tmp_path, IMAGES[1:])
    with pytest.raises(FileNotFoundError, match=r"4 of 13 images are not in .*'all_souls_000001'"):
        import_revisited(truth, some, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="no folder of photos at"):
        import_revisited(truth, tmp_path / "absent", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    import_revisited(truth, source / "jpg", tmp_path / "data")
    other = write_truth(tmp_path, make_values(gnd=changed(0, junk=[])))
    with pytest.raises(InputError, match="or part of one, made with revisited"):
        import_revisited(other, source / "jpg", tmp_path / "data")
    broken = write_photos(tmp_path / "broken")
    (broken / f"{QUERIES[0]}.jpg").write_bytes(b"\xff\xd8\xff no photo")
    with pytest.raises(ValueError, match="query 'all_souls_000099' cannot be cropped from"):
        import_revisited(truth, broken, tmp_path / "other")
    assert not (tmp_path / "other/train.csv").exists()


def test_the_train_table_of_a_model_is_taken_over(source: Path, tmp_path: Path) -> None:
    """Its run's model is used as it is, and none of its training images is asked for."""
    trained = make_dataset(tmp_path / "trained", landmarks=3)
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[train]\nepochs = 1\n")
    end = cairn("train", *options(trained, tmp_path / "model-run", recipe))
    assert end.status == 0, end.err
    data, run = tmp_path / "data", tmp_path / "run"
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data, training=trained)
    assert (data / "train.csv").read_bytes() == (trained / "train.csv").read_bytes()
    dataset = Dataset(data)
    assert set(dataset.load_split("index").landmark_ids.tolist()) == {3, 4, 5}
    assert {dataset.names[0], dataset.names[3]} == {"Thing 0", "all_souls"}
    run.mkdir()
    (tmp_path / "model-run/model").rename(run / "model")
    before = (run / "model/manifest.json").read_bytes()
    end = cairn("submit", *options(data, run, recipe))
    assert end.status == 0, end.err
    assert (run / "model/manifest.json").read_bytes() == before
    assert cairn("evaluate", "--run", run).status == 0


def test_the_command_says_what_it_did(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command)
    arguments = [str(source / "gnd_tiny.pkl"), "--images", str(source / "jpg")]
    end = CliRunner().invoke(app, arguments)
    assert end.exit_code == 0, end.output
    assert end.stdout == "data/tiny: 3 queries, 10 images, 0 distractors\n"
