"""Write a run into one file: all that it answers with, its card, and thumbnails or photos.

Reads the run folder and its dataset. Writes the archive (see archive), and beside it, for as long
as that takes, a folder of what no run has: a dataset without photos, and changes that name none.
"""

import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embed.columns import read_parquet
from embed.errors import InputError, MissingFileError
from embed.image_file import ImageFile, limit_bytes, read_image_file
from pipelines.answers.live import load_live
from pipelines.artifacts import (
    FORMAT_VERSION,
    PACKED_DATA,
    FileRecord,
    Manifest,
    hash_file,
    make_key,
    record_file,
    save_manifest,
    write_json,
    write_signed,
)
from pipelines.datasets.dataset import PACKED_FROM, SIDE_TABLES, TABLES
from pipelines.datasets.thumbnails import PIXELS, Source, write_thumbnails
from pipelines.datasets.thumbnails import TABLE as THUMBNAILS
from pipelines.progress import progress_bar
from pipelines.runs.artifact import RECORDS
from pipelines.runs.changes import IMAGES, Change, list_copies, writing_journal
from pipelines.runs.integrity import MISSING, find_damage, intact_file, make_error
from pipelines.runs.job import Job, read_run
from pipelines.runs.names import FILE as NAMES
from pipelines.runs.names import read_stored_names
from pipelines.runs.packed import list_left_out

from .archive import ArchiveWriter, writing_archive
from .card import CARD, README, Card
from .card_text import format_card
from .contents import PackList, choose_contents
from .names import check_names

STAGE = "pack"
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp"}  # by the first bytes of a file


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    file: Path
    files: int
    bytes: int  # of the archive
    sha256: str  # of the archive
    photos: int  # photos, or thumbnails, in it
    left_out: int  # photos that could not be read, or are gone


def pack_run(job: Job, file: Path, card: Card, *, images: bool = False) -> Packed:
    """Write a run into an archive.

    Args:
        job: the run, with the dataset that has its photos.
        file: of the archive; one that is there is replaced.
        card: of the run.
        images: put the photos of database and queries in as they are, not thumbnails of them.

    Raises:
        MissingFileError: the run is not finished, or its dataset is gone, or the photos.
        InputError: a file is damaged; or a name, or the recipe, is of no use elsewhere.
    """
    _refuse_hub_model(job)
    if file.resolve().is_relative_to(job.run.resolve()):
        raise InputError(f"{file} lies in the run itself; name a file outside of it")
    with writing_journal(job.run) as changes, _staging(file) as staged:
        contents = choose_contents(job)
        left_out = sorted({*contents.left_out, *list_left_out(job.run)})
        facts = {
            "runs": FORMAT_VERSION,
            "cairn": importlib.metadata.version("cairn"),
            "left_out": left_out,
        }
        files, photos = dict[str, ImageFile](), _list_photos(job, contents)
        if images:
            files = _name_photos(job, photos)
            done = len(files) + sum(len(list_copies(change.folder)) for change in changes)
        else:
            done = _stage_thumbnails(job, photos, staged)
        with writing_archive(file, facts) as writer:
            _add_card(writer, card)
            _add_run(job, writer, staged)
            for folder, manifest in contents.packed.items():
                _add_artifact(job.run, folder, manifest, writer)
            for change in changes:
                _add_change(job.run, change, writer, staged, images=images)
            _add_dataset(job, files, writer, staged)
        size, sha256 = file.stat().st_size, hash_file(file)
        return Packed(file, len(writer.members) + 1, size, sha256, done, len(photos) - done)


def _refuse_hub_model(job: Job) -> None:
    if job.recipe.rerank.hub_model:
        raise InputError(
            f"the local features of {job.run} come from {job.recipe.rerank.hub_model}, a folder "
            "that is code, and is not packed; make a run with rerank.hub_model empty"
        )


@contextmanager
def _staging(file: Path) -> Iterator[Path]:
    """Yield a folder beside a file, for what is written before it; what a killed process left goes.

    Raises InputError if the file cannot be there.
    """
    if file.is_dir():
        raise InputError(f"{file} is a folder; name a file to write")
    folder = file.with_name(f".{file.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _list_photos(job: Job, contents: PackList) -> list[str]:
    """Return the ids of the photos that pages show: of the database, and of queries."""
    table = load_live(job.run).table
    ids: list[str] = table.ids(sorted(table.by_landmark.tolist())).to_pylist()
    queries = job.dataset.load_split("test").ids if contents.submitted else ()
    return list(dict.fromkeys([*ids, *queries]))


def _find_sources(job: Job, photos: list[str]) -> Iterator[tuple[str, Source]]:
    """Yield the photos that are there, or the thumbnails that stand for them."""
    added = dict(file for each in load_live(job.run).added for file in each.list_files())
    for image_id in photos:
        small = job.dataset.find_thumbnail(image_id)
        found = added.get(image_id) or job.dataset.find_photo(image_id)
        if small is not None and found == small.file:
            yield image_id, small
        elif found is not None:
            yield image_id, found


def _stage_thumbnails(job: Job, photos: list[str], staged: Path) -> int:
    """Write the thumbnails of photos; return how many there are."""
    folder = staged / PACKED_DATA
    folder.mkdir()
    with progress_bar("thumbnails", len(photos)) as advance:
        sources = _find_sources(job, photos)
        count = write_thumbnails(sources, folder, job.max_pixels, advance)
    if photos and not count:
        raise MissingFileError(
            f"the photos of {job.run} are gone from {job.data}; --data FOLDER says where they are"
        )
    return count


def _name_photos(job: Job, photos: list[str]) -> dict[str, ImageFile]:
    """Return the photos of the dataset by their names in the archive."""
    place, files = job.dataset.images, dict[str, ImageFile]()
    held = place.holds(photos)  # raises where there is no folder of them
    for image_id in (image_id for image_id, there in zip(photos, held, strict=True) if there):
        file = place.locate(image_id)
        suffix = file.suffix.lower() if isinstance(file, Path) else ""
        if suffix not in (".jpg", ".jpeg", ".png", ".webp"):
            start = read_image_file(file, limit_bytes(job.max_pixels))[:2]
            suffix = SUFFIXES.get(start, ".jpg")
        files[f"{PACKED_DATA}/images/{image_id}{suffix}"] = file
    check_names(files)  # before anything long
    return files


def _add_card(writer: ArchiveWriter, card: Card) -> None:
    """Write the card as people and as programs read it."""
    writer.add_bytes(README, format_card(card).encode())
    writer.add_bytes(CARD, card.to_json())


def _add_run(job: Job, writer: ArchiveWriter, staged: Path) -> None:
    """Write run.json without a path that is of this machine, names and figures."""
    recorded = read_run(job.run)
    assert recorded is not None  # open_job has read it
    read_stored_names(job.run)
    values = {**recorded, "data": PACKED_DATA, "recipe": Path(recorded["recipe"]).stem}
    if recorded["weights"]:
        values["weights"] = Path(recorded["weights"]).name  # a trained model needs it no more
    data = values["settings"]["data"]
    data["ids"] = Path(data["ids"]).name
    write_signed(values, staged / "run.json")
    writer.add_file("run.json", staged / "run.json")
    writer.add_file(f"index/{NAMES}", job.run / "index" / NAMES)


def _add_artifact(run: Path, folder: Path, manifest: Manifest, writer: ArchiveWriter) -> None:
    """Write an artifact's files, which are as its manifest says, and the manifest.

    Raises:
        InputError: a file is damaged.
    """
    for record in manifest.outputs:
        path = folder / record.name
        if record.name in RECORDS and not path.is_file() and manifest.stage.startswith("train"):
            continue  # no answer depends on it
        _add_intact(run, folder, record, writer)
    writer.add_file(_name(run, folder / "manifest.json"), folder / "manifest.json")


def _add_intact(run: Path, folder: Path, record: FileRecord, writer: ArchiveWriter) -> None:
    path = folder / record.name
    if not path.is_file():
        raise make_error(folder, record, MISSING)
    if writer.add_file(_name(run, path), path).sha256 != record.sha256:
        raise make_error(folder, record, find_damage(path, record, whole=True) or "it has changed")


def _name(run: Path, path: Path) -> str:
    """Return the name of a file of a run in its archive."""
    return Path(os.path.relpath(path, run)).as_posix()


def _add_change(
    run: Path, change: Change, writer: ArchiveWriter, staged: Path, *, images: bool
) -> None:
    """Write a change of the database; without its photos as one that says that they are gone."""
    folder, manifest = change.folder, change.manifest
    copies = list_copies(folder)
    if images or not copies:
        _add_artifact(run, folder, manifest, writer)
        for record in copies:
            _add_intact(run, folder, record, writer)
        return
    place = staged / _name(run, folder)
    place.mkdir(parents=True)
    listed = read_parquet(intact_file(folder, IMAGES))
    column = listed.schema.get_field_index("file")
    nothing = pa.nulls(listed.num_rows, pa.string())
    pq.write_table(listed.set_column(column, "file", nothing), place / IMAGES)
    outputs = [record_file(place / IMAGES) if r.name == IMAGES else r for r in manifest.outputs]
    for record in outputs:
        if record.name != IMAGES:
            _add_intact(run, folder, record, writer)
    write_signed(asdict(replace(manifest, outputs=outputs)), place / "manifest.json")
    for name in (IMAGES, "manifest.json"):
        writer.add_file(_name(run, folder / name), place / name)


def _add_dataset(
    job: Job, photos: Mapping[str, ImageFile], writer: ArchiveWriter, staged: Path
) -> None:
    """Write the tables of the dataset, its thumbnails or photos, and a manifest of them."""
    folder, first = staged / PACKED_DATA, len(writer.members)
    folder.mkdir(exist_ok=True)
    for name in (*TABLES, *SIDE_TABLES):
        if table := job.dataset.find_table(name):
            writer.add_file(f"{PACKED_DATA}/{table.name}", table)
    write_json({PACKED_FROM: job.dataset.name}, folder / "dataset.json")
    for name in ("dataset.json", THUMBNAILS, PIXELS):
        if (folder / name).is_file():
            writer.add_file(f"{PACKED_DATA}/{name}", folder / name)
    for name, file in photos.items():
        if isinstance(file, Path):
            writer.add_file(name, file)
        else:
            writer.add_bytes(name, read_image_file(file, file.size))
    outputs = [
        FileRecord(member.name.removeprefix(f"{PACKED_DATA}/"), member.bytes, member.sha256)
        for member in writer.members[first:]
    ]
    save_manifest(_describe_dataset(job, outputs), folder)
    writer.add_file(f"{PACKED_DATA}/manifest.json", folder / "manifest.json")


def _describe_dataset(job: Job, outputs: list[FileRecord]) -> Manifest:
    return Manifest(
        stage=STAGE,
        key=make_key(STAGE, {}, {}),
        settings={},
        recipe=Path(job.recipe_name).stem,
        recipe_sha256=job.recipe.sha256,
        inputs={},
        outputs=outputs,
    )
