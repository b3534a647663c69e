"""`cairn pack` and `cairn unpack`: the same answers anywhere, and nothing of the old place."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from embed.errors import InputError
from pipelines.artifacts import PACKED_DATA, read_signed, write_signed
from pipelines.datasets.dataset import Dataset
from pipelines.runs.packed import LISTING
from pipelines.share.archive import Archive, writing_archive
from pipelines.share.names import SUFFIXES
from pipelines.share.unpack import unpack_run
from tests.conftest import Tiny
from tests.datasets import QUERIES, SIDE, cairn, query_json, view, write_photo
from tests.journal import write_views
from tests.test_imports import ROOT

MILL = 50  # a landmark that no dataset here has
UNREAD = "q8"  # a query that is no image


@dataclass(frozen=True)
class Moved:
    """A run that was packed, and all that there was before it is gone."""

    origin: Path  # the folder where run and dataset were
    archive: Path
    again: bytes  # the archive, packed a second time
    with_photos: Path  # an archive
    asked: Path  # a folder of photos
    answers: str  # JSON of these, of the run before it was packed
    run: Path  # unpacked elsewhere


@pytest.fixture(scope="module")
def moved(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """Pack a run that has all that a run can have, delete it, and unpack it elsewhere."""
    origin, away = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("away")
    tiny = finished.copy_to(origin)
    (tiny.data / "images" / f"{UNREAD}.jpg").write_bytes(b"no image")
    for table, row in (("test", UNREAD), ("solution", f"{UNREAD},,Public")):
        path = tiny.data / f"{table}.csv"
        path.write_text(path.read_text() + f"{row}\n")
    photo = Image.open(tiny.data / "images" / "thing0-0.jpg")
    exif = photo.getexif()
    exif[0x010F] = "a maker"
    photo.save(tiny.data / "images" / "thing0-0.jpg", exif=exif, quality=95)
    assert tiny.submit().status == 0
    new = write_views(origin / "mill", MILL, range(3))
    (origin / "mill" / "broken.jpg").write_bytes(b"no image")
    assert cairn("add", origin / "mill", "--run", tiny.run, "--name", "Old mill").status == 1
    assert cairn("remove", "--run", tiny.run, "--image", "thing1-1").status == 0
    asked = away / "asked"
    for query in QUERIES:
        write_photo(away, query, view(int(query[1:]), 60))
    shutil.move(away / "images", asked)
    shutil.copy(new[0], asked)
    answers = query_json(tiny.run, asked)
    archive, again, with_photos = (away / f"{name}.zip" for name in ("run", "again", "photos"))
    for file, *more in ((archive,), (again,), (with_photos, "--images")):
        packed = cairn("pack", tiny.run, file, *more)
        assert packed.status == 0, packed.err
    shutil.rmtree(origin)
    run = away / "elsewhere" / "city"
    assert cairn("unpack", archive, run).status == 0
    return Moved(origin, archive, again.read_bytes(), with_photos, asked, answers, run)


@pytest.fixture
def run(moved: Moved, tmp_path: Path) -> Path:
    """Return a copy of the unpacked run, free to be changed."""
    return Path(shutil.copytree(moved.run, tmp_path / "copy"))


def test_answers_are_the_same_byte_for_byte(moved: Moved) -> None:
    assert not moved.origin.exists()
    assert query_json(moved.run, moved.asked) == moved.answers
    assert [json.loads(line)["label"] for line in moved.answers.splitlines()].count(6) == 1


def list_texts(path: Path) -> Iterator[bytes]:
    """Yield all that a file holds, also where it is compressed."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield str(pq.read_schema(path).metadata).encode()
    elif path.suffix == ".arrow":
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    else:
        return
    for column in table.select([f.name for f in table.schema if pa.types.is_string(f.type)]):
        yield "\n".join(filter(None, column.to_pylist())).encode()


def test_no_file_of_the_run_names_the_old_place(moved: Moved) -> None:
    files = [path for path in moved.run.rglob("*") if path.is_file()]
    assert len(files) > 30
    old = [bytes(moved.origin), bytes(ROOT), moved.origin.name.encode()]
    for path in files:
        for text in list_texts(path):
            assert not any(place in text for place in old), path


def test_the_same_run_is_packed_into_the_same_bytes(moved: Moved) -> None:
    assert moved.archive.read_bytes() == moved.again


def test_what_only_the_training_needs_does_not_go_along(moved: Moved) -> None:
    with zipfile.ZipFile(moved.archive) as file:
        names = file.namelist()
    assert {Path(name).suffix for name in names} <= SUFFIXES
    for needed in ("README.md", "card.json", "model/model.safetensors", "index/vectors.npy"):
        assert needed in names
    kinds = {name.rpartition("/")[0] for name in names}
    assert {"features/train", "embeddings/non_landmark", "changes/000001"} <= kinds
    assert not {"features/non_landmark", "changes/000001/images", "dataset/images"} & kinds
    assert not any("checkpoint" in name or name.endswith((".pt", ".png")) for name in names)


def test_commands_find_nothing_wrong_and_the_report_has_pictures(run: Path) -> None:
    checked = cairn("verify", run)
    assert (checked.status, "nothing is damaged" in checked.out) == (0, True), checked.out
    assert "left out" in next(t for t in checked.out.splitlines() if "features/non_land" in t)
    card = json.loads((run / "card.json").read_text())
    figures = json.loads(cairn("evaluate", "--run", run, "--json").out)
    assert {n: v for n, v in figures.items() if n != "seconds"} == card["figures"]
    assert cairn("report", run).status == 0
    report = (run / "report.html").read_text()
    assert "no image" not in report and report.count("data:image/jpeg") > 5
    assert "Old mill" in cairn("landmarks", "--run", run).out


def test_the_card_says_what_the_run_knows_and_how_well(moved: Moved) -> None:
    card = json.loads((moved.run / "card.json").read_text())
    assert (card["database"], card["landmarks"], card["added"], card["removed"]) == (26, 7, 3, 1)
    text = (moved.run / "README.md").read_text()
    low, high = card["figures"]["gap_interval"]
    assert f"| {card['figures']['gap']:.3f} | {low:.3f} to {high:.3f} |" in text
    assert "- Database: 26 photos of 7 landmarks, 7 of them with a name; 3 added" in text
    assert "The database has changed since these were measured." in text
    assert "name no licence" in text


def test_thumbnails_are_small_and_say_nothing_of_cameras(moved: Moved) -> None:
    dataset = Dataset(moved.run / PACKED_DATA)
    found = dataset.find_thumbnail("thing0-0")
    assert found is not None and dataset.find_photo("thing0-0") == found.file
    assert dataset.find_photo(UNREAD) is None
    content = found.file.path.read_bytes()
    with Image.open(io.BytesIO(content[found.file.offset :][: found.file.size])) as small:
        assert small.format == "JPEG" and small.size == found.size == (SIDE, SIDE)
    assert b"Exif" not in content and b"a maker" not in content


def test_a_run_that_was_unpacked_goes_on_growing(run: Path, tmp_path: Path, moved: Moved) -> None:
    new = write_views(tmp_path / "tower", MILL + 1, range(2))
    with zipfile.ZipFile(moved.with_photos) as file:  # whose thumbnail alone the run has
        file.extract(f"{PACKED_DATA}/images/thing2-0.jpg", tmp_path)
    same = shutil.move(tmp_path / PACKED_DATA / "images" / "thing2-0.jpg", tmp_path / "other.jpg")
    end = cairn("add", tmp_path / "tower", same, "--run", run, "--name", "Tower")
    assert end.out.splitlines() == [
        "added 2 photos of landmark 7, Tower (new): tower-0, tower-1",
        f"left out {same}: the database has it, as thing2-0 of landmark 2, Thing 2; for it to be "
        f"of landmark 7, Tower, first: cairn remove --run {run} --image thing2-0",
    ]
    assert json.loads(query_json(run, new[0]))["name"] == "Tower"
    before = query_json(run, moved.asked)
    assert cairn("compact", "--run", run).status == 0
    assert query_json(run, moved.asked) == before
    assert cairn("verify", run).status == 0
    assert cairn("pack", run, tmp_path / "again.zip").status == 0
    assert cairn("unpack", tmp_path / "again.zip", tmp_path / "again").status == 0
    assert query_json(tmp_path / "again", moved.asked) == before
    thumbnails = [Dataset(folder / PACKED_DATA) for folder in (run, tmp_path / "again")]
    first, second = (each.find_thumbnail("thing2-0") for each in thumbnails)
    assert first and second and (first.size, first.sha256) == (second.size, second.sha256)


def test_photos_go_along_where_they_are_asked_for(moved: Moved, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cairn("unpack", moved.with_photos, run).status == 0
    photo = run / PACKED_DATA / "images" / "thing0-0.jpg"
    assert Dataset(run / PACKED_DATA).locate("thing0-0") == photo
    assert b"a maker" in photo.read_bytes()
    assert len(list((run / "changes" / "000001" / "images").iterdir())) == 3
    assert query_json(run, moved.asked) == moved.answers
    assert cairn("verify", run).status == 0


def test_what_needs_photos_says_so(run: Path) -> None:
    end = cairn("index", "--run", run, "--redo", "--workers", 0)
    assert end.status == 1
    assert "was packed without its photos, which this needs; --data FOLDER says" in end.err


def test_an_existing_folder_is_refused_and_stays(moved: Moved, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    end = cairn("unpack", moved.archive, tmp_path / "run")
    assert (end.status, end.err) == (
        1,
        f"error: {tmp_path / 'run'} is there already; name another run folder\n",
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.share import unpack
calls = 0
def sync(descriptor):
    global calls
    calls += 1
    if calls == 12:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = sync
unpack.unpack_run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_unpacking_leaves_nothing_that_counts(moved: Moved, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [sys.executable, "-c", KILLED, str(moved.archive), str(run)]
    assert subprocess.run(arguments, cwd=ROOT).returncode == -signal.SIGKILL
    assert not run.exists() and len(list(tmp_path.iterdir())) == 1
    unpack_run(moved.archive, run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert query_json(run, moved.asked) == moved.answers


def repack(moved: Moved, path: Path, **changes: object) -> Path:
    """Write the archive again with another run.json."""
    with Archive.open(moved.archive) as archive, zipfile.ZipFile(moved.archive) as file:
        with writing_archive(path, archive.facts) as writer:
            for member in archive.members:
                content = file.read(member.name)
                if member.name == "run.json":
                    values = read_signed(moved.run / "run.json") | changes
                    write_signed(values, path.with_name("run.json"))
                    content = path.with_name("run.json").read_bytes()
                writer.add_bytes(member.name, content)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "/home"}, "names /home as data"),
        ({"data": "../data"}, r"names \.\./data as data"),
        ({"weights": "/etc/weights.safetensors"}, "names /etc/weights.safetensors as weights"),
        ({"format": 99}, "was made by another version of Cairn"),
    ],
)
def test_a_run_that_names_other_places_is_refused(
    changes: dict[str, object], said: str, moved: Moved, tmp_path: Path
) -> None:
    path = repack(moved, tmp_path / "odd.zip", **changes)
    with pytest.raises(InputError, match=said):
        unpack_run(path, tmp_path / "run")
    assert not any(
        name.startswith((".run", "run")) for name in os.listdir(tmp_path) if name != "run.json"
    )


def test_a_damaged_run_is_not_packed(run: Path, tmp_path: Path) -> None:
    path = run / "index" / "rows.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    end = cairn("pack", run, tmp_path / "run.zip")
    assert end.status == 1 and "rows.arrow is damaged" in end.err
    assert not (tmp_path / "run.zip").exists()


def test_an_unfinished_run_is_not_packed(run: Path, tmp_path: Path) -> None:
    (run / "decision" / "manifest.json").unlink()
    end = cairn("pack", run, tmp_path / "run.zip")
    assert (end.status, end.err) == (
        1,
        f"error: {run} is not finished; run `cairn index --run {run}` first\n",
    )


def test_the_listing_is_part_of_the_run(moved: Moved) -> None:
    listing = read_signed(moved.run / LISTING)
    names = {each["name"] for each in listing["files"]} | {LISTING}
    files = {p.relative_to(moved.run).as_posix() for p in moved.run.rglob("*") if p.is_file()}
    assert names <= files
    assert files - names <= {".lock", "metrics.json"}


def test_a_run_is_not_packed_into_itself(run: Path) -> None:
    manifest = run / "index" / "manifest.json"
    before = manifest.read_bytes()
    for path in (manifest, run / "run.zip"):
        end = cairn("pack", run, path)
        assert end.status == 1 and "lies in the run itself" in end.err
    assert manifest.read_bytes() == before and not (run / "run.zip").exists()
