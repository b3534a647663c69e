"""The one door to a run's files: what is loaded is what was written."""

import ast
from pathlib import Path

import pyarrow as pa
import pytest

from embed.errors import InputError, MissingFileError
from embed.sealed import read_seal, write_sealed
from pipelines.artifacts import FileRecord, Manifest, record_file, save_manifest
from pipelines.runs.integrity import find_damage, has_file, intact_file, intact_output, intact_parts

ROOT = Path(__file__).resolve().parents[1]


def sign(folder: Path, *outputs: FileRecord) -> None:
    values = {"stage": "index", "key": "k", "settings": {}, "recipe": "r", "recipe_sha256": "0"}
    save_manifest(Manifest(**values, inputs={}, outputs=outputs), folder)  # type: ignore[arg-type]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "index"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("some values")
    sign(folder, record_file(folder / "a.txt"))
    return folder


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("some", "it ends after 4 of 11 bytes"),
        ("some values and more", "it has 20 bytes instead of 11"),
        ("Some values", "its sha256 is not its manifest's"),
    ],
)
def test_a_damaged_file_is_refused_with_finding_and_command(
    content: str, finding: str, index: Path
) -> None:
    assert intact_file(index, "a.txt") == index / "a.txt"
    (index / "a.txt").write_text(content)
    with pytest.raises(InputError) as caught:
        intact_file(index, "a.txt")
    command = f"make it anew: cairn index --redo --run {index.parent}"
    assert str(caught.value) == f"{index}/a.txt is damaged: {finding}; {command}"


def test_what_is_missing_is_told_from_what_was_never_made(index: Path) -> None:
    assert has_file(index, "a.txt") and not has_file(index, "b.txt")
    with pytest.raises(MissingFileError, match=r"index was made without b\.txt; make it anew"):
        intact_file(index, "b.txt")
    (index / "a.txt").unlink()
    with pytest.raises(MissingFileError, match=r"a\.txt is missing; make it anew: cairn index"):
        intact_file(index, "a.txt")
    expected = rf"nothing finished in .*/submit; run `cairn submit --run {index.parent}` first"
    with pytest.raises(MissingFileError, match=expected):
        intact_output(index.parent, "a.txt")


def test_parts_read_in_pieces_are_known_by_their_seals(tmp_path: Path) -> None:
    paths = [tmp_path / f"part-{number}.parquet" for number in range(2)]
    for path in paths:
        write_sealed(pa.table({"name": [path.stem, "b", "c"]}), path, group_rows=1)
    records = [record_file(path, seal=read_seal(path)) for path in paths]
    sign(tmp_path, *records)
    assert intact_parts(tmp_path) == paths
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:9] + b"?" + content[10:])  # whoever reads it notices
    assert find_damage(paths[0], records[0]) == ""
    assert find_damage(paths[0], records[0], whole=True) == "its sha256 is not its manifest's"
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(InputError, match=r"part-0\.parquet is damaged: its seal is not its mani"):
        intact_parts(tmp_path)


# What opens a file of a run, and where it is done: on a path that came through the door.
LOADERS = {
    "load_model": {"pipelines/answers/stored_model.py"},
    "load_delf": {"pipelines/answers/stored_model.py"},
    "load_head": {"classify_head/trained_head.py"},
    "BaseIndex.load": {"pipelines/answers/database.py"},
    "RowTable.load": {"pipelines/answers/database.py", "pipelines/answers/live.py"},
    "load_whitening": {"pipelines/answers/database.py"},
    "load_landmark_head": {"pipelines/answers/database.py"},
    "read_embeddings": {"pipelines/answers/database.py", "pipelines/answers/open_run.py"},
    "read_failures": {"pipelines/answers/open_run.py", "pipelines/stages/clean.py"},
    "read_evidence": {"pipelines/scores/ablate.py"},
    "FeatureStore": {"pipelines/answers/open_run.py"},
}


@pytest.mark.parametrize("loader", LOADERS)
def test_the_files_of_a_run_are_loaded_in_one_place(loader: str) -> None:
    found = set()
    for package in ("pipelines", "classify_head", "index", "embed"):
        for path in (ROOT / package).rglob("*.py"):
            calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
            if any(ast.unparse(c.func) == loader for c in calls):
                found.add(str(path.relative_to(ROOT)))
    assert found == LOADERS[loader]


NAMES = ("predictions.parquet", "neighbors.parquet", "verified.parquet", "decision.json")


def test_no_table_of_a_run_is_read_past_the_door() -> None:
    """A path is built as `run / "decision" / "decision.json"` only where it is written."""
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
                continue
            right = node.right
            named = isinstance(right, ast.Constant) and right.value in NAMES
            assert not named or path.name in ("decide.py", "decision.py"), f"{path}:{node.lineno}"
