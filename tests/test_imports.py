"""The direction of imports between the packages, and what the command line may not load."""

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
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[int, str, int]]:
    """Yield (line, absolute name or "", levels of a relative import), inner ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, 0
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "", node.level


def violations(path: Path) -> list[str]:
    """List what a file of a package may not import."""
    parts = path.relative_to(ROOT).parts
    package, depth = parts[0], len(parts) - 1
    found = []
    for line, name, level in imports(path):
        top = name.split(".")[0]
        place = f"{'/'.join(parts)}:{line}"
        if level > depth:
            found.append(f"{place}: relative import out of the package")
        elif level:
            continue
        elif top == package:
            found.append(f"{place}: '{name}' is of the same package, import it with a dot")
        elif top == "tests" or (top in ALLOWED and top not in ALLOWED[package]):
            found.append(f"{place}: {package} may not import '{name}'")
    return found


def test_every_package_imports_only_what_it_may() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ALLOWED)
    assert [line for path in FILES for line in violations(path)] == []


@pytest.mark.parametrize(
    ("package", "statement", "count"),
    [
        ("embed", "from index.search import search", 1),
        ("embed", "import pipelines.cli", 1),
        ("rerank", "from classify_head import votes", 1),
        ("classify_head", "def f():\n    import rerank", 1),
        ("pipelines", "from tests.images import photo", 1),
        ("index", "from index.neighbors import Neighbors", 1),
        ("index", "from ..embed import shards", 1),
        ("index", "from .neighbors import Neighbors\nfrom embed import shards\nimport faiss", 0),
        ("pipelines", "from rerank import sift\nfrom . import cli", 0),
    ],
)
def test_the_check_tells_right_from_wrong(
    package: str, statement: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / package / "module.py"
    path.parent.mkdir()
    path.write_text(statement)
    assert len(violations(path)) == count


# `cairn --help` and mistakes in a recipe must answer at once.
@pytest.mark.parametrize(
    "module", ["pipelines.cli", "pipelines.recipe", "pipelines.job", "embed.settings"]
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
