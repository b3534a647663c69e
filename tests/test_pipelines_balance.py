"""Balanced datasets: capped and filled-up training sets, variants listed or written as files."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from embed.balance import erus_sets
from embed.decode import decode_image
from embed.errors import InputError
from embed.train_settings import AugmentSettings, BalanceSettings
from embed.variants import TRANSFORMS, make_variant
from pipelines.commands.augmentations import augmentations
from pipelines.commands.balance import balance
from pipelines.datasets.balance.make import PICTURES, balance_dataset
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.tars.build import build_tar_index
from pipelines.reports.augmentation_sheet import GAP, LABEL, TILE, write_augmentation_sheet
from tests.datasets import find_file, view, write_photo, write_table

SIZES = (1, 3, 5, 9)
SETTINGS = BalanceSettings(min_count=2, cap=6, upsample_to=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write landmarks of SIZES photos, with URLs, a test and a validation photo."""
    folder = tmp_path_factory.mktemp("whole")
    rows = []
    for label, size in enumerate(SIZES):
        for number in range(size):
            write_photo(folder, f"t{label}-{number}", view(label, number))
            rows.append(f"t{label}-{number},http://127.0.0.1/{label}/{number},{label}")
    for image_id in ("q0", "v0"):
        write_photo(folder, image_id, view(2, 60))
    write_table(folder / "train.csv", "id,url,landmark_id", rows)
    write_table(folder / "test.csv", "id", ["q0"])
    write_table(folder / "validation.csv", "id,landmark_id", ["v0,2"])
    return folder


@pytest.fixture
def source(whole: Path, tmp_path: Path) -> Dataset:
    """Return a copy that may be changed."""
    return Dataset(Path(shutil.copytree(whole, tmp_path / "source")))


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def test_sets_are_those_of_the_index_and_share_the_images(source: Dataset, tmp_path: Path) -> None:
    into = tmp_path / "out"
    done = balance_dataset(source, into, SETTINGS, sets=2, seed=3)
    table = source.load_split("train")
    expected = erus_sets(table.landmark_ids, sets=2, cap=6, upsample_to=5, min_count=2, seed=3)
    assert (done.landmarks, done.of_landmarks, done.dropped) == (3, 4, 1)
    for made, examples in zip(done.sets, expected, strict=True):
        original = examples.variants == 0
        written = Dataset(made.folder)
        assert written.load_split("train").ids == tuple(
            table.ids[row] for row in examples.rows[original]
        )
        assert (made.images, made.variants) == (14, 2)
        variants = read(made.folder / "variants.csv")
        assert variants["image_id"].tolist() == [table.ids[r] for r in examples.rows[~original]]
        assert variants["variant"].tolist() == examples.variants[~original].tolist()
        assert set(variants["transforms"].str.split("+").explode()) <= set(TRANSFORMS)
        # All are searched, and asked about, as before.
        assert written.load_split("index").ids == table.ids
        assert (made.folder / "images").is_symlink()
        written.check()
    first, second = (read(made.folder / "train.csv") for made in done.sets)
    assert first.columns.tolist() == ["id", "url", "landmark_id"]
    large = [set(part["id"][part["landmark_id"] == 3]) for part in (first, second)]
    assert len(large[0] & large[1]) == 3 and len(large[0] | large[1]) == 9
    assert read(done.sets[0].folder / "variants.csv").equals(
        read(done.sets[1].folder / "variants.csv")
    )


def test_written_variants_have_the_pixels_that_training_makes(
    source: Dataset, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    done = balance_dataset(source, into, SETTINGS, seed=3, materialise=True)
    assert [made.folder for made in done.sets] == [into]
    written = Dataset(into)
    table = written.load_split("train")
    assert np.bincount(table.landmark_ids).tolist() == [0, 5, 5, 6]
    written.check()
    for row in read(into / "variants.csv").itertuples():
        original = decode_image(source.locate(str(row.image_id))).pixels
        variant = int(str(row.variant))
        assert row.id == f"{row.image_id}~{variant}"
        expected = make_variant(original, variant, str(row.image_id), 3)
        stored = decode_image(written.locate(str(row.id))).pixels
        assert stored.shape == expected.shape
        assert np.abs(stored.astype(int) - expected).mean() < 8  # JPEG
    assert all(decode_image(written.locate(image_id)).pixels.size for image_id in table.ids)
    assert find_file(written, "q0").read_bytes() == find_file(source, "q0").read_bytes()
    urls = read(into / "train.csv").set_index("id")["url"]
    assert (urls[urls.index.str.contains("~")] == "").all() and urls["t1-0"]


def test_variants_are_written_beside_images_in_folders_and_tars(
    source: Dataset, tmp_path: Path
) -> None:
    images = source.folder / "images"
    nested = images / "t" / "1" / "-" / "t1-0.jpg"
    nested.parent.mkdir(parents=True)
    (images / "t1-0.jpg").rename(nested)
    with tarfile.open(images / "some.tar", "w") as tar:
        for name in ("t1-1.jpg", "t1-2.jpg"):
            tar.add(images / name, name)
            (images / name).unlink()
    build_tar_index(images)
    settings = BalanceSettings(cap=6, upsample_to=6)
    balance_dataset(Dataset(source.folder), tmp_path / "out", settings, materialise=True)
    written = Dataset(tmp_path / "out")
    ids = [i for i in written.load_split("train").ids if i.startswith("t1-")]
    assert len(ids) == 6
    assert all(decode_image(written.locate(image_id)).pixels.size for image_id in ids)
    assert sorted(path.name for path in nested.parent.iterdir()) == ["t1-0.jpg"]


def test_interrupted_writing_goes_on(
    source: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "out"
    calls: list[object] = []

    def fail(*given: Any) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return make_variant(*given)

    monkeypatch.setattr("pipelines.datasets.balance.variant_files.make_variant", fail)
    settings = BalanceSettings(upsample_to=9)
    with pytest.raises(KeyboardInterrupt):
        balance_dataset(source, into, settings, materialise=True)
    assert not (into / "train.csv").exists()
    first = {path.name: path.stat().st_mtime_ns for path in (into / PICTURES).glob("*~*.jpg")}
    balance_dataset(source, into, settings, materialise=True)
    assert first and len(calls) - 1 == 8 + 6 + 4  # the second was lost, none was made again
    again = {name: (into / PICTURES / name).stat().st_mtime_ns for name in first}
    assert again == first
    assert not [name for name in os.listdir(into / PICTURES) if name.endswith(".tmp")]


def test_an_unreadable_image_has_no_variants_and_is_told(source: Dataset, tmp_path: Path) -> None:
    broken = source.folder / "images" / "t1-0.jpg"
    broken.write_bytes(b"nothing")
    settings = BalanceSettings(cap=6, upsample_to=6)  # two of each image of landmark 1
    done = balance_dataset(source, tmp_path / "out", settings, materialise=True)
    failures = read(tmp_path / "out" / "failures.csv")
    assert failures["id"].tolist() == ["t1-0"] and failures["reason"].tolist() == ["not_an_image"]
    assert len(done.failures) == 1
    ids = Dataset(tmp_path / "out").load_split("train").ids
    assert "t1-0" in ids and not [i for i in ids if i.startswith("t1-0~")]
    shutil.copy(source.folder / "images" / "t1-1.jpg", broken)  # mended: the same command again
    again = balance_dataset(source, tmp_path / "out", settings, materialise=True)
    assert not again.failures and again.sets[0].variants == done.sets[0].variants + 1
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_what_cannot_be_made_is_refused(source: Dataset, tmp_path: Path) -> None:
    into = tmp_path / "out"
    with pytest.raises(ValueError, match="3 sets without a cap would all be the same; set --cap"):
        balance_dataset(source, into, BalanceSettings(upsample_to=5), sets=3)
    with pytest.raises(ValueError, match=r"no landmark of .* has 10 images, the largest has 9"):
        balance_dataset(source, into, BalanceSettings(min_count=10))
    balance_dataset(source, into, SETTINGS)
    with pytest.raises(InputError, match="name another folder"):
        balance_dataset(source, into, SETTINGS, seed=1)


def test_an_id_that_a_variant_would_have_is_refused(source: Dataset, tmp_path: Path) -> None:
    rows = [f"x,{9}", *(f"x~{variant},{9}" for variant in range(1, 32))]
    write_table(source.folder / "train.csv", "id,landmark_id", rows)
    (source.folder / "validation.csv").unlink()
    with pytest.raises(ValueError, match=r"'x~\d+' of train would be the id of a variant"):
        balance_dataset(
            source, tmp_path / "out", BalanceSettings(upsample_to=249), materialise=True
        )


def test_without_a_validation_table_written_variants_come_with_a_warning(
    source: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source.folder / "validation.csv").unlink()
    balance_dataset(source, tmp_path / "out", SETTINGS, materialise=True)
    assert "hold some out before: cairn data select" in caplog.text


def test_the_command_prints_what_it_made(source: Dataset, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(balance)
    names = ["--into", str(tmp_path / "out"), "--cap", "6", "--sets", "2", "--min-count", "2"]
    done = CliRunner().invoke(app, [str(source.folder), *names, "--upsample-to", "5"])
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'out' / 'set-2'}: 14 images, 2 variants of them" in done.output
    assert "3 of 4 landmarks; 1 images of the others left out" in done.output
    refused = CliRunner().invoke(app, [str(source.folder), *names, "--upsample-to", "7"])
    assert "upsample_to 7 > cap 6" in str(refused.exception)


def test_the_sheet_has_a_row_for_each_change(source: Dataset, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(augmentations)
    path = tmp_path / "sheet.png"
    named = ["--recipe", "demo", "--out", str(path), "--columns", "6"]
    done = CliRunner().invoke(app, [str(source.folder), *named])
    assert done.exit_code == 0, done.output
    with Image.open(path) as sheet:
        width, height = sheet.size
        tiles = np.asarray(sheet)[GAP:, LABEL:]
    assert width == LABEL + 6 * (TILE + GAP) + GAP
    count = (height - GAP) // (TILE + GAP)
    rows = [tiles[row * (TILE + GAP) :][:TILE].tobytes() for row in range(count)]
    # Each differs from the image as it is, but that of the preset "none".
    assert sum(row == rows[0] for row in rows[1:]) == 1


def test_a_sheet_of_images_that_cannot_be_read_says_so(source: Dataset, tmp_path: Path) -> None:
    for file in (source.folder / "images").iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no image of .* could be read; the first of 2 that"):
        write_augmentation_sheet(source, AugmentSettings(), tmp_path / "sheet.png", columns=2)
