"""The direction of imports, between packages and between rooms, and what `cairn` may not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED: dict[str, set[str]] = {
    "embed": set(),
    "index": {"embed"},
    "rerank": {"index", "embed"},
    "classify_head": {"index", "embed"},
    "pipelines": {"embed", "index", "rerank", "classify_head"},
}
# The rooms of `pipelines`, files and folders in it, from the top floor down. A room imports itself
# and the rooms below it.
ROOMS: tuple[tuple[str, ...], ...] = (
    ("__main__", "__init__", "cli"),
    ("commands",),
    ("serve",),
    ("reports",),
    ("scores",),
    ("recognizer",),
    ("stages",),
    ("share",),
    ("answers",),
    ("runs",),
    ("sources",),
    ("datasets",),
    # The ground: whole or not at all, keys, manifests; a bar; what anybody draws with.
    ("artifacts", "decorations", "faults", "lettering", "memory", "progress", "tiles"),
)
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]
FLOORS = {name: floor for floor, room in enumerate(ROOMS) for name in room}


def imports(path: Path) -> Iterator[tuple[int, str, int]]:
    """Yield (line, module, dots of a relative import), inside functions, too."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *(node.module.split(".") if node.module else ())]
            for name in sorted({find_module(base, alias.name) for alias in node.names}):
                yield node.lineno, name, node.level


def find_module(base: list[str], name: str) -> str:
    """Return the module that `from base import name` reads: a name may be that of a module."""
    inner = ROOT.joinpath(*base, name)
    is_module = inner.with_suffix(".py").is_file() or inner.is_dir()
    return ".".join([*base, name] if is_module else base)


def folder_of(module: str) -> Path:
    """Return the folder in which a module lies; of a package, its own."""
    path = Path(*module.split("."))
    return path if (ROOT / path).is_dir() else path.parent


def violations(path: Path) -> list[str]:
    """List what a file of a package may not import, or must import in another way."""
    file = path.relative_to(ROOT)
    package = file.parts[0]
    found = []
    for line, name, level in imports(path):
        top = name.split(".")[0]
        place = f"{file.as_posix()}:{line}"
        near = level < 2 and folder_of(name) == file.parent
        if level and not near:
            found.append(f"{place}: '{name}' is of another folder, import it without a dot")
        elif near and not level:
            found.append(f"{place}: '{name}' is of the same folder, import it with a dot")
        elif top == "tests" or (top in ALLOWED and top not in {package, *ALLOWED[package]}):
            found.append(f"{place}: {package} may not import '{name}'")
    return found


def floor_of(parts: tuple[str, ...]) -> int:
    """Return the floor of a file or module of `pipelines`, 0 at the top."""
    return FLOORS[parts[1] if len(parts) > 1 else "__init__"]


def find_rising(path: Path) -> set[str]:
    """Return the modules that a file imports from the floors above its own."""
    file = path.relative_to(ROOT).with_suffix("")
    if file.parts[0] != "pipelines":
        return set()
    names = {name for _, name, _ in imports(path) if name.split(".")[0] == "pipelines"}
    return {name for name in names if floor_of(tuple(name.split("."))) < floor_of(file.parts)}


def test_every_package_imports_only_what_it_may() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ALLOWED)
    assert [line for path in FILES for line in violations(path)] == []


def test_every_file_of_pipelines_is_in_a_room() -> None:
    inside = [path.relative_to(ROOT / "pipelines") for path in (ROOT / "pipelines").rglob("*.py")]
    assert {path.with_suffix("").parts[0] for path in inside} <= set(FLOORS)


def test_a_room_imports_only_rooms_below_it() -> None:
    rising = {path.relative_to(ROOT).as_posix(): find_rising(path) for path in FILES}
    assert {file: names for file, names in rising.items() if names} == {}


@pytest.mark.parametrize(
    ("package", "statement", "count"),
    [
        ("embed", "from index.base import BaseIndex", 1),
        ("embed", "import pipelines.cli", 1),
        ("rerank", "from classify_head import votes", 1),
        ("classify_head", "def f():\n    import rerank", 1),
        ("pipelines", "from tests.images import photo", 1),
        ("index", "from index.neighbors import Neighbors", 1),
        ("index", "from ..embed import shards", 1),
        ("index", "from .neighbors import Neighbors\nfrom embed import shards\nimport faiss", 0),
        ("pipelines", "from rerank import sift\nfrom . import cli", 0),
        ("pipelines", "from .runs import job", 1),
        ("pipelines", "from .runs.job import Job, open_job", 1),
        ("pipelines/runs", "from ..artifacts import writing", 1),
        ("pipelines/runs", "from pipelines.runs import job", 1),
        ("pipelines/runs", "from . import job\nfrom pipelines.artifacts import writing", 0),
    ],
)
def test_the_check_tells_right_from_wrong(
    package: str, statement: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "pipelines" / "runs").mkdir(parents=True)
    (tmp_path / "pipelines" / "runs" / "job.py").touch()
    path = tmp_path / package / "module.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(statement)
    assert len(violations(path)) == count


@pytest.mark.parametrize(
    ("file", "statement", "rising"),
    [
        (
            "runs/job.py",
            "from pipelines.answers.opened_run import OpenedRun",
            {"pipelines.answers.opened_run"},
        ),
        ("runs/job.py", "def f():\n    from pipelines import cli", {"pipelines.cli"}),
        ("artifacts.py", "import pipelines.runs.job", {"pipelines.runs.job"}),
        (
            "cli.py",
            "from pipelines.commands.query import query\nfrom .artifacts import writing",
            set(),
        ),
        ("runs/job.py", "from .recipe import Recipe\nfrom pipelines.datasets import images", set()),
    ],
)
def test_an_import_that_runs_up_is_found(
    file: str,
    statement: str,
    rising: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "pipelines" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "pipelines" / "cli.py").touch()
    path.write_text(statement)
    assert find_rising(path) == rising


# `cairn --help` and mistakes in a recipe must answer at once.
@pytest.mark.parametrize(
    "module", ["pipelines.cli", "pipelines.runs.recipe", "pipelines.runs.job", "embed.settings"]
)
def test_the_command_line_does_not_load_torch(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('torch', 'timm') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
