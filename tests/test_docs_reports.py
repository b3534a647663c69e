"""The tables of reports and winners name files, settings, recipes and commands that exist."""

import re
from pathlib import Path

import pytest

from classify_head.policies import POLICIES
from embed.backbone import check_backbone
from pipelines.runs.recipe import Recipe, load_recipe
from pipelines.runs.recipe_files import list_recipes
from pipelines.runs.setting_names import list_settings
from tests.datasets import list_commands

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    name: (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("reports.md", "winners.md")
}
# Of each document, the tables of parts: they come after the figures.
TABLES = {
    "reports.md": TEXTS["reports.md"].partition("\n## torino")[2],
    "winners.md": TEXTS["winners.md"].partition("\n## 2019")[2],
}
ROWS = {
    name: [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in tables.splitlines()
        if line.startswith("| ") and not line.startswith("| what ")
    ]
    for name, tables in TABLES.items()
}
REPORTS = {"torino", "balanced-ensemble", "facenet-hadamard", "se-attention", "xception-bilinear"}
SPANS = [
    span for rows in ROWS.values() for row in rows for span in re.findall(r"`([^`]+)`", row[1])
]
SETTINGS = set(list_settings(Recipe))


def test_each_report_has_a_table_of_a_title_of_its_own() -> None:
    titles = set(re.findall(r"^## (\S+)$", TEXTS["reports.md"], re.MULTILINE))
    assert titles == REPORTS | {"Figures"}
    assert len(ROWS["reports.md"]) > 100


def test_the_first_three_of_each_year_have_a_table_and_say_what_was_read_and_left_out() -> None:
    parts = re.split(r"^### ", TABLES["winners.md"], flags=re.MULTILINE)[1:]
    found = [re.match(r"(\d+), (\w+)", part) for part in parts]
    places = [match.groups() for match in found if match]
    assert places == [
        (year, place) for year in ("2019", "2020", "2021") for place in ("first", "second", "third")
    ]
    for part in parts[:-1]:  # of the last all that is known is here
        assert "Left out: " in part
    for part in parts:
        assert "Read: " in part and ("arXiv " in part or "github.com/" in part)
        assert "\n| what they had | option | code | tests |\n" in part


@pytest.mark.parametrize(
    ("document", "row"),
    [(name, row) for name, rows in ROWS.items() for row in rows],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_row_names_what_is_asked_for_how_where_and_its_tests(
    document: str, row: list[str]
) -> None:
    assert len(row) == 4
    what, option, code, tests = row
    assert what
    assert "`" in option or option == "[Figures](#figures)"
    assert code.split("/")[0] in {"embed", "index", "rerank", "classify_head", "pipelines"}
    for path in (code, tests):
        assert (ROOT / path).is_file(), f"{path} is named in docs/{document} and does not exist"
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
    named = re.findall(r"--recipe ([a-z-]+)", "".join(TEXTS.values()))
    assert set(named) <= set(list_recipes())
    assert set(named) >= REPORTS | {"landmarks"}
    for name in REPORTS:
        title = load_recipe(name).report.title.removesuffix(" (slides)")
        assert f'"{title}"' in TEXTS["reports.md"]


def test_policies_of_the_winners_are_named_and_those_that_are_named_exist() -> None:
    named = re.findall(
        r"polic(?:y|ies)\s`([a-z0-9-]+)`(?: and `([a-z0-9-]+)`)?", TABLES["winners.md"]
    )
    found = {name for pair in named for name in pair if name}
    place = re.compile(r"20(19|20|21) (1st|2nd|3rd) place")
    assert found == {name for name, policy in POLICIES.items() if place.match(policy.source)} - {
        "knn-power"  # a step of knn-power-x-head
    }


def test_hybrids_that_are_named_are_networks_of_timm() -> None:
    sentence = TABLES["winners.md"].partition("Other hybrids")[2].partition("\n\n")[0]
    names = re.findall(r"`([a-z0-9_]+)`", sentence)
    assert len(names) > 3
    for name in names:
        check_backbone(name)
