"""Calls can be read: no function takes more than five positional arguments."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("embed", "index", "rerank", "classify_head", "pipelines")
MOST = 5


def list_long(text: str) -> Iterator[str]:
    """Yield the functions with more positional arguments, self and cls not counted."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            if len([name for name in names if name not in ("self", "cls")]) > MOST:
                yield node.name


def test_no_function_takes_more_than_five_positional_arguments() -> None:
    # Those in commands/ are called by name alone: their arguments are options.
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    files = [path for path in paths if path.parent != ROOT / "pipelines" / "commands"]
    files.append(ROOT / "pipelines" / "commands" / "start.py")
    found = {path.relative_to(ROOT): list(list_long(path.read_text("utf-8"))) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_check_counts_positional_arguments_alone() -> None:
    assert list(list_long("def f(a, b, c, /, d, e, f): ...")) == ["f"]
    assert list(list_long("def f(self, a, b, c, d, e, *, f, g): ...")) == []
