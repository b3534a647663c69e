"""docs/map.md and docs/architecture.md name what is there, and the map all that is there."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import docs_map
from tests.docs_map import ROOT, describe, find_differences, read_map
from tests.test_imports import FILES, FLOORS

ADD = [line for line in read_map()[0].splitlines() if line.startswith("| a")]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
RECORDS = re.findall(r"^\| `(\w+)` \| `([\w/]+)` \|", ARCHITECTURE, re.MULTILINE)
THINGS = {  # that somebody is sure to look for
    *("pooling", "metric loss", "classification head", "local feature", "policy", "data source"),
    *("stage", "command", "option of a command", "setting of a recipe", "recipe"),
}


def test_the_map_has_every_folder_and_file_once() -> None:
    """The remedy is one command; the lines say what it does."""
    differences = "\n".join(find_differences())
    assert not differences, f"python -m tests.docs_map --write mends docs/map.md:\n{differences}"


def test_what_differs_is_said_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = list(docs_map.list_lines())
    wrong = [line for line in right if "embed/pooling.py" not in line]
    wrong.append("- `embed/gone.py`: What is not there.")
    monkeypatch.setattr(docs_map, "MAP", tmp_path / "map.md")
    docs_map.MAP.write_text("By hand.\n" + docs_map.START + "\n".join(wrong) + "\n")
    line = f"- `embed/pooling.py`: {describe(ROOT / 'embed' / 'pooling.py')}"
    assert find_differences() == [
        "delete: - `embed/gone.py`: What is not there.",
        f"add: {line}",
    ]
    monkeypatch.setattr("sys.argv", ["docs_map", "--write"])
    docs_map.main()
    assert find_differences() == []
    assert read_map()[0] == "By hand.\n"


def test_where_to_add_each_thing_is_said() -> None:
    said = [line.split("|")[1].strip().split(" ", 1)[1] for line in ADD]
    assert set(said) >= THINGS
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("line", ADD, ids=lambda line: line.split("|")[1].strip())
def test_where_to_add_names_files_and_a_test_that_are_there(line: str) -> None:
    _, _, files, tests, _ = line.split("|")
    named = re.findall(r"`([\w/.]+(?:/|\.py|\.md))`", files)
    tested = re.findall(r"`(tests/test_\w+\.py)`", tests)
    assert named
    assert tested
    gone = [path for path in named + tested if not (ROOT / path).exists()]
    texts = [(ROOT / path).read_text() for path in named if path.endswith(".py")]
    gone += [name for name in re.findall(r"`(\w+)`", files) if not is_defined(name, texts)]
    assert gone == [], "docs/map.md, 'Where do I add', names what is not there"


def is_defined(name: str, texts: Sequence[str]) -> bool:
    """Tell whether one of these modules has a class, a function, a field or a constant."""
    defined = re.compile(rf"^ *((class|def) {name}\b|{name}(:| =))", re.MULTILINE)
    return any(map(defined.search, texts))


def test_the_architecture_has_each_room_from_the_top_down() -> None:
    table = ARCHITECTURE[ARCHITECTURE.index("\n## Rooms") : ARCHITECTURE.index("\n## Records")]
    rooms = {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")}
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == sorted(
        rooms, key=FLOORS.__getitem__
    )


def test_each_record_is_one_class_in_its_folder() -> None:
    found: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path.parent.relative_to(ROOT).as_posix())
    wrong = {name: found.get(name) for name, folder in RECORDS if found.get(name) != [folder]}
    assert len(RECORDS) > 10
    assert wrong == {}, "docs/architecture.md, 'Records', has them elsewhere, or they are gone"
