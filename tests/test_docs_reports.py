"""The table of the five reports names files, settings, recipes and commands that exist."""

import re
from pathlib import Path

import pytest

from pipelines.runs.recipe import Recipe, load_recipe
from pipelines.runs.recipe_files import list_recipes
from pipelines.runs.setting_names import list_settings
from tests.datasets import list_commands

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
TABLES = TEXT[TEXT.index("\n## torino") :]  # after the figures
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLES.splitlines()
    if line.startswith("| ") and "what the report has" not in line
]
REPORTS = {"torino", "balanced-ensemble", "facenet-hadamard", "se-attention", "xception-bilinear"}
SPANS = [span for row in ROWS for span in re.findall(r"`([^`]+)`", row[1])]


SETTINGS = set(list_settings(Recipe))


def test_each_report_has_a_table_of_a_title_of_its_own() -> None:
    titles = set(re.findall(r"^## (\S+)$", TEXT, re.MULTILINE))
    assert titles == REPORTS | {"Figures"}
    assert len(ROWS) > 100


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_what_is_asked_for_how_where_and_its_tests(row: list[str]) -> None:
    assert len(row) == 4
    what, option, code, tests = row
    assert what
    assert "`" in option or option == "[Figures](#figures)"
    assert code.split("/")[0] in {"embed", "index", "rerank", "classify_head", "pipelines"}
    for path in (code, tests):
        assert (ROOT / path).is_file(), f"{path} is named in docs/reports.md and does not exist"
    assert tests.startswith("tests/test_")


@pytest.mark.parametrize("key", sorted({s for s in SPANS if re.fullmatch(r"[a-z_.]+", s)}))
def test_a_setting_that_is_named_exists(key: str) -> None:
    assert key in SETTINGS


@pytest.mark.parametrize("words", sorted({s for s in SPANS if s.startswith("cairn ")}))
def test_a_command_that_is_named_has_these_options(words: str) -> None:
    names = words.removeprefix("cairn ").split(" --")[0]
    commands = list_commands()
    assert names in commands
    known = {option for parameter in commands[names].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", words)) <= known


def test_recipes_that_are_named_exist_and_each_report_is_one() -> None:
    named = re.findall(r"--recipe ([a-z-]+)", TEXT)
    assert set(named) <= set(list_recipes())
    assert set(named) >= REPORTS
    for name in REPORTS:
        title = load_recipe(name).report.title.removesuffix(" (slides)")
        assert f'"{title}"' in TEXT
