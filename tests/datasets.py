"""Make tiny datasets, recipes and runs for tests, and call the command line in this process.

Each landmark is a random texture; its photos are views of it, so that local features verify them.
Writes where it is told.
"""

import contextlib
import hashlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from pipelines import cli
from pipelines.artifacts import load_manifest, record_file, write_signed
from pipelines.datasets.dataset import Dataset
from pipelines.runs.job import Job
from pipelines.runs.recipe import load_recipe

# A recipe of small local features, learned from the photos.
DELF = """
[rerank]
method = "delf"
[rerank.delf]
stride = 4
hidden = 16
dim = 16
epochs = 1
batch_size = 8
scales = [1.0, 2.0]
max_features = 60
score_threshold = 0.0
"""
SIDE = 96  # pixels of a photo
LANDMARKS, PHOTOS = 6, 4
QUERIES = tuple(f"q{number}" for number in range(8))  # the last two show no landmark
POOL = tuple(f"none{number}" for number in range(6))
# Two epochs, so that training can be interrupted; small shards, so that embedding can.
RECIPE = """
[train]
backbone = "test_resnet"
pretrained = false
image_size = 32
dim = 16
epochs = 2
classes_per_batch = 3
images_per_class = 2
precision = "float32"
validation_share = 0.25

[embed]
engine = "torch"
batch_size = 4
shard_size = 6

[search]
neighbors = 24

[rerank]
candidates = 24
max_side = 96
max_features = 200
"""


def texture(seed: int) -> NDArray[np.uint8]:
    """Draw blocks of random colours at three sizes, [160, 160, 3] uint8: full of corners."""
    rng = np.random.default_rng(seed)
    total = np.zeros((160, 160, 3), dtype=np.float32)
    for cells, weight in ((10, 0.5), (20, 0.3), (40, 0.2)):
        blocks = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += weight * cv2.resize(blocks, (160, 160), interpolation=cv2.INTER_NEAREST)
    return _to_pixels((total - 128) * 1.6 + 128)


def view(landmark: int, number: int) -> NDArray[np.uint8]:
    """Return a view of a landmark's texture, [SIDE, SIDE, 3]: turned, scaled, shifted, lit."""
    rng = np.random.default_rng([landmark, number])
    turned = cv2.getRotationMatrix2D((80, 80), rng.uniform(-8, 8), rng.uniform(0.85, 1.1))
    turned[:, 2] = turned[:, 2] + SIDE / 2 - 80 + rng.uniform(-6, 6, 2)
    pixels = cv2.warpAffine(texture(landmark), turned, (SIDE, SIDE))
    return _to_pixels(pixels * rng.uniform(0.85, 1.1))


def _to_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(values, 0, 255).astype(np.uint8))


def write_photo(folder: Path, image_id: str, pixels: NDArray[np.uint8]) -> Path:
    """Write images/<id>.jpg of a dataset folder."""
    path = folder / "images" / f"{image_id}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def write_table(path: Path, header: str, rows: Sequence[str]) -> None:
    """Write a CSV table of whole lines."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def make_dataset(folder: Path, landmarks: int = LANDMARKS) -> Path:
    """Write a whole dataset folder: train, test with solution, non_landmark, labels."""
    train = []
    for landmark in range(landmarks):
        for number in range(PHOTOS):
            image_id = f"thing{landmark}-{number}"
            write_photo(folder, image_id, view(landmark, number))
            train.append(f"{image_id},{landmark}")
    solution = []
    for place, query in enumerate(QUERIES):
        known = place < LANDMARKS
        write_photo(folder, query, view(place % landmarks if known else 100 + place, 50))
        solution.append(f"{query},{place % landmarks if known else ''},Public")
    for place, image_id in enumerate(POOL):
        write_photo(folder, image_id, view(200 + place, 0))
    write_table(folder / "train.csv", "id,landmark_id", train)
    write_table(folder / "test.csv", "id", QUERIES)
    write_table(folder / "solution.csv", "id,landmarks,Usage", solution)
    write_table(folder / "non_landmark.csv", "id", POOL)
    names = [f"{landmark},Thing {landmark}" for landmark in range(landmarks)]
    write_table(folder / "labels.csv", "landmark_id,name", names)
    return folder


def make_recipe_file(path: Path, changes: str = "") -> Path:
    """Write the tiny recipe, or one that changes it: TOML of what differs."""
    if not changes:
        path.write_text(RECIPE, encoding="utf-8")
        return path
    base = path.with_name(f"{path.stem}-base.toml")
    base.write_text(RECIPE, encoding="utf-8")
    path.write_text(f"base = '{base}'\n{changes}", encoding="utf-8")
    return path


def write_recipe(folder: Path, text: str, name: str = "mine.toml") -> str:
    """Write a recipe, and return its path as the name that load_recipe takes."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def make_job(data: Path, run: Path, recipe: Path) -> Job:
    """Return a job that decodes in this process."""
    return Job(data, run, load_recipe(str(recipe)), str(recipe), workers=0)


def accept_changes(folder: Path, **changes: Any) -> None:
    """Let an artifact's manifest say what a test has made of its files, and other changes."""
    manifest = load_manifest(folder)
    assert manifest is not None
    outputs = [
        replace(record_file(folder / record.name, record.rows, record.seal), name=record.name)
        for record in manifest.outputs
    ]
    values = asdict(replace(manifest, outputs=outputs, **changes))
    write_signed(values, folder / "manifest.json")


def accept_file(path: Path) -> None:
    """Let the manifest of a run's file say what a test has made of it."""
    own = (path.parent / "manifest.json").is_file()
    accept_changes(path.parent if own else path.parent / "submit")


@dataclass(frozen=True)
class Finished:
    """What a command gave."""

    status: int
    out: str
    err: str


def cairn(*arguments: object) -> Finished:
    """Call the command line in this process; an error that is not deliberate goes through."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    argv = ["cairn", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.run_command()
        except SystemExit as end:  # as the interpreter does: a text goes to standard error
            status = 1 if isinstance(end.code, str) else int(end.code or 0)
            if isinstance(end.code, str):
                print(end.code, file=err)
    return Finished(status, out.getvalue(), err.getvalue())


def query_json(run: Path, photos: Path, *more: object) -> str:
    """Return what `cairn query --json` prints of photos."""
    end = cairn("query", photos, "--run", run, "--json", *more)
    assert end.status == 0, end.err
    return end.out


def list_commands() -> dict[str, Any]:
    """Return every command by what is typed for it: `submit`, `data demo`."""

    def walk(group: Any, above: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items() if hasattr(group, "commands") else ():
            inner = dict(walk(command, f"{above}{name} "))
            yield from inner.items() if inner else [(f"{above}{name}", command)]

    return dict(walk(typer.main.get_command(cli.app), ""))


def find_file(dataset: Dataset, image_id: str) -> Path:
    """Return the file of an image that has one of its own."""
    file = dataset.locate(image_id)
    assert isinstance(file, Path)
    return file


def options(data: Path, run: Path, recipe: Path) -> list[str]:
    """Return the options of a stage's command that name all of a job."""
    names = {"--data": data, "--run": run, "--recipe": recipe, "--workers": 0}
    return [text for name, value in names.items() for text in (name, str(value))]


def results(run: Path) -> dict[str, str]:
    """Return the sha256 of each file of a run that must not depend on when and where it ran."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _list_results(run)
    }


def _list_results(run: Path) -> Iterator[Path]:
    for path in sorted(run.rglob("*")):
        timed = path.name in {"manifest.json", "metrics.json", "run.json", ".lock"}
        if path.is_file() and not timed:
            yield path
