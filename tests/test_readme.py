"""The documents name only what exists, and the Makefile's help lists every target."""

import re
import subprocess

import pytest
import typer

from pipelines.cli import app
from tests.datasets import list_commands
from tests.documents import DOCUMENTS, FENCE, ROOT

ALL = "\n".join(DOCUMENTS.values())
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

OPTIONS: dict[str, set[str]] = {
    name: {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    | {"--help", "-h"}
    for name, command in list_commands().items()
}
OWN = typer.main.get_command(app).params
OWN_OPTIONS = {option for parameter in OWN for option in parameter.opts} | {"--help", "-h"}
VARIABLES = set(re.findall(r"^([A-Z]+) *[?:]?=", MAKEFILE, re.MULTILINE))
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def code_of(text: str) -> list[str]:
    """Return the lines of code blocks and the code spans of Markdown, comments left out."""
    blocks = [code for _, _, code in FENCE.findall(text)]
    prose = FENCE.sub("", text)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]
    return [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines] + spans


def commands_of(text: str, program: str) -> list[list[str]]:
    """Return the words after each call of a program in code, up to the next command."""
    start = rf"(?:^|[\s;&|(/]){re.escape(program)} +([^;&|)]+)"
    return [call.split() for line in code_of(text) for call in re.findall(start, line)]


def unknown_in_make(words: list[str]) -> list[str]:
    """Return what `make WORDS` names and the Makefile does not have."""
    names = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
    settings = [word.split("=")[0] for word in words if re.match(r"[A-Z]+=", word)]
    return [n for n in names if n not in TARGETS] + [s for s in settings if s not in VARIABLES]


def unknown_in_cairn(words: list[str]) -> list[str]:
    """Return the command, or the options, of `cairn WORDS` that do not exist."""
    name, options = words[0], [word.split("=")[0] for word in words[1:] if word[0] == "-" != word]
    if name.startswith("-"):
        return [] if name in OWN_OPTIONS else [name]
    if re.fullmatch(r"[a-z]+", name) is None:  # a placeholder: cairn X, cairn <command>
        return []
    groups = {known.split()[0] for known in OPTIONS if " " in known}
    if name in groups and len(words) > 1 and not words[1].startswith("-"):
        name = f"{name} {words[1]}"
    if name in groups:
        return options
    return [name] if name not in OPTIONS else [o for o in options if o not in OPTIONS[name]]


def test_commands_are_found_in_markdown() -> None:
    text = (
        "Run `make index RUN=x`.\n```sh\n$ .venv/bin/cairn query a.jpg --json  # --no\n"
        "make env && cairn train \\\n  --redo\n```\nTo make nothing, `cairn data demo`.\n"
    )
    assert commands_of(text, "make") == [["env"], ["index", "RUN=x"]]
    assert commands_of(text, "cairn") == [
        ["query", "a.jpg", "--json"],
        ["train", "--redo"],
        ["data", "demo"],
    ]


def test_what_does_not_exist_is_found() -> None:
    assert unknown_in_make(["submision", "DATA=x", "NAME=y"]) == ["submision", "NAME"]
    assert unknown_in_cairn(["query", "a.jpg", "--jsn", "--run=x"]) == ["--jsn"]
    assert unknown_in_cairn(["qery", "--json"]) == ["qery"]


@pytest.mark.parametrize("words", commands_of(ALL, "make"), ids=" ".join)
def test_make_targets_that_are_named_exist(words: list[str]) -> None:
    assert unknown_in_make(words) == []


@pytest.mark.parametrize(
    "words", commands_of(ALL, "cairn") + commands_of(ALL, "python -m pipelines"), ids=" ".join
)
def test_commands_and_options_that_are_named_exist(words: list[str]) -> None:
    assert unknown_in_cairn(words) == []


def test_options_in_the_text_exist() -> None:
    """Options named alone, as in `--redo`, belong to a command or to a benchmark."""
    alone = {span.split()[0].split("=")[0] for span in code_of(ALL) if span.startswith("--")}
    scripts = [*ROOT.glob("tests/benchmarks/*.py"), ROOT / "tests" / "docs_map.py"]
    theirs = {o for path in scripts for o in re.findall(r'"(--[a-z-]+)"', path.read_text())}
    assert alone <= theirs.union(*OPTIONS.values())


def test_programs_in_the_text_exist() -> None:
    named = set(re.findall(r"python -m (tests[\w.]+)", ALL.replace("\n", " ")))
    assert len(named) > 10
    files = {name: ROOT / name.replace(".", "/").removesuffix("/") for name in named}
    assert [n for n, f in files.items() if not (f.is_dir() or f.with_suffix(".py").is_file())] == []


def test_every_target_is_phony() -> None:
    declared = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    assert declared is not None
    assert set(declared[1].replace("\\\n", " ").split()) == TARGETS


def test_help_lists_every_target() -> None:
    end = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^ *make ([a-z-]+) ", end.stdout, re.MULTILINE)) == TARGETS


def test_options_that_the_makefile_passes_exist() -> None:
    recipes = MAKEFILE.replace("$(CAIRN)", "cairn")
    for name, rest in re.findall(r"^\tcairn (data [a-z]+|[a-z]+)(.*)", recipes, re.MULTILINE):
        text = rest.replace("$(OPTIONS)", re.search(r"^OPTIONS.*\n.*", MAKEFILE, re.M)[0])  # type: ignore[index]
        assert set(re.findall(r"(--[a-z]+)", text)) <= OPTIONS[name], name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_is_linked_to_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not ((ROOT / name).parent / link).is_file()] == []


def test_tests_that_contributors_are_told_to_run_are_there() -> None:
    named = re.findall(r"tests/test_\w+\.py", DOCUMENTS["CONTRIBUTING.md"])
    assert len(named) > 1
    assert [path for path in named if not (ROOT / path).is_file()] == []
