"""Names that a reader of the field knows: a class name once, and no words of our own."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("embed", "index", "rerank", "classify_head", "pipelines")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
# What was said once, and what is said now.
DIALECT = {
    "askings": "calibration set",
    "gallery": "database",
    "laps": "rounds, epochs",
    "strangers": "distractors",
    "told": "predicted, correct",
    "twins": "duplicates",
}
CITY = ROOT / "pipelines" / "sources" / "city"  # its twins are landmarks that look alike


def list_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of every variable, attribute, parameter, function and class."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_names_are_words_of_the_field() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {name}; say {DIALECT[word]}"
        for path in FILES
        if CITY not in path.parents
        for line, name in list_names(path)
        for word in name.lower().split("_")
        if word in DIALECT
    ]
    assert found == []
