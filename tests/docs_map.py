"""Write docs/map.md: what each folder and file holds, by the first lines of their docstrings.

`python -m tests.docs_map` says what the map lacks, `--write` writes it anew. What is above START is
written by hand and stays.
"""

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "docs" / "map.md"
PACKAGES = ("embed", "index", "rerank", "classify_head", "pipelines")
START = "<!-- Below: first lines of docstrings, by `python -m tests.docs_map --write`. -->\n"
# Folders that are no packages, and so have no docstring.
FOLDERS = {
    "pipelines/recipes": "What a run does besides its data: a TOML file a recipe.",
    "pipelines/reports/page/templates": "What pages are made of: Jinja templates and their style.",
    "pipelines/serve/static": "What the page of a server loads: its style, its scripts, its icon.",
    "pipelines/serve/templates": "The page of a server.",
}
SUFFIXES = (".py", ".toml", ".html", ".css", ".js")
# Of a template, of a style, of a script.
COMMENT = re.compile(r"(?:\{#|/\*|//)\s*(.*?)\s*(?:#\}|\*/|$)", re.DOTALL | re.MULTILINE)


@functools.cache
def describe(path: Path) -> str:
    """Return the first line of what a file says of itself.

    That is a module's docstring, a recipe's description, the first comment of a template.

    Raises:
        ValueError: it says nothing.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        found = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix == ".toml":
        found = tomllib.loads(text).get("description", "")
    else:
        comment = COMMENT.search(text)
        found = comment[1] if comment else ""
    if not found:
        raise ValueError(f"{path.relative_to(ROOT)} does not say what it holds; begin it with that")
    line = found.splitlines()[0]
    return line if line.endswith((".", "?")) else f"{line}."


def list_lines() -> Iterator[str]:
    """Yield what the map has below START, line by line: folders, and in each its files."""
    for package in PACKAGES:
        files = [p for p in sorted((ROOT / package).rglob("*")) if p.suffix in SUFFIXES]
        for folder in sorted({path.parent for path in files}):
            name, start = folder.relative_to(ROOT).as_posix(), folder / "__init__.py"
            yield ""
            yield f"{'#' * min(2 + name.count('/'), 4)} {name}/"
            yield ""
            yield describe(start) if start in files else FOLDERS[name]
            yield ""
            for path in files:
                if path.parent == folder and path != start:
                    yield f"- `{name}/{path.name}`: {describe(path)}"


def read_map() -> tuple[str, list[str]]:
    """Return what the map has above START, and the lines below it."""
    above, _, below = MAP.read_text(encoding="utf-8").partition(START)
    return above, below.splitlines()


def find_differences() -> list[str]:
    """Return a line for each that is to be added to the map, or to be deleted from it."""
    there, right = read_map()[1], list(list_lines())
    gone = [f"delete: {line}" for line in there if line not in right]
    fresh = [f"add: {line}" for line in right if line not in there]
    if gone or fresh or there == right:
        return [*gone, *fresh]
    return ["its lines are in another order than the tree"]


def main() -> None:
    """Say what differs, or mend it."""
    if "--write" in sys.argv[1:]:
        text = read_map()[0] + START + "\n".join(list_lines()) + "\n"
        MAP.write_text(text, encoding="utf-8")
    else:
        print("\n".join(find_differences()))


if __name__ == "__main__":
    main()
