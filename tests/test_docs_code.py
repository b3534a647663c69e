"""What the documents tell people to type is understood, and what takes seconds works."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
import typer
from PIL import Image

from pipelines.cli import app
from tests.conftest import Tiny
from tests.datasets import cairn, list_commands, view
from tests.documents import DOCUMENTS, ROOT, SHELL, Block, list_blocks, list_calls

COMMANDS = list_commands()
OPTIONS = {option for each in typer.main.get_command(app).params for option in each.opts}
CALLS = [
    pytest.param(words, id=f"{block}: {' '.join(words)}")
    for block in list_blocks(*SHELL)
    for words in list_calls(block.code, "cairn")
]
# Every call in these documents is made, but of what trains, fetches, or serves for ever.
MADE = ("README.md", "docs/start.md", "docs/adding.md", "docs/recipes.md", "docs/decides.md")
NOT_MADE = {"submit", "run", "train", "serve"}
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def understand(words: list[str]) -> None:
    """Read a call as the command line does, without making it."""
    if words[0].startswith("--"):
        assert words[0] in OPTIONS, f"cairn has no option {words[0]!r}"
        return
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    assert name in COMMANDS, f"cairn has no command {name!r}"
    COMMANDS[name].make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("words", CALLS)
def test_a_call_is_understood(words: list[str]) -> None:
    understand(words)


@pytest.mark.parametrize(
    "words", ["qery a.jpg", "query --jsn a.jpg", "query --neighbors many a.jpg", "landmarks a b"]
)
def test_a_call_that_is_not_understood_is_found(words: str) -> None:
    with pytest.raises((AssertionError, typer.TyperException)):
        understand(words.split())


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with what the documents name: runs, photos, tables and a recipe."""
    folder = tmp_path / "project"
    for name in ("runs", "data", "somewhere", "my_photos/old_mill", "more_photos/barn"):
        (folder / name).mkdir(parents=True)
    for name in ("demo", "mine"):
        shutil.copytree(tiny.run, folder / "runs" / name)
    shutil.copytree(tiny.data, folder / "data" / "demo")
    shutil.copy(tiny.data / "images" / "q0.jpg", folder / "photo.jpg")
    shutil.copy(tiny.data / "images" / "q1.jpg", folder / "somewhere" / "new_photo.jpg")
    shutil.copy(tiny.data / "images" / "q0.jpg", folder / "data/demo/images/0006c066f5b257dc.jpg")
    new = ["photo1", "photo2", "more_photos/barn/1", "tabled", "my_photos/old_mill/0017"]
    for number, name in enumerate([*new, *(f"my_photos/old_mill/{n}" for n in range(5))]):
        Image.fromarray(view(50 + min(number, 4), number)).save(folder / f"{name}.jpg")
    (folder / "new.csv").write_text("path,name\ntabled.jpg,Barn\n")
    (folder / "mine.toml").write_text('base = "photos"\n[train]\nepochs = 20\n')
    monkeypatch.chdir(folder)
    assert cairn("data", "folders", "my_photos", "--data", "data/mine").status == 0
    return folder


@pytest.mark.parametrize("document", MADE)
def test_the_calls_of_a_document_work_one_after_the_other(document: str, folder: Path) -> None:
    blocks = [block for block in list_blocks(*SHELL) if block.document == document]
    calls = [words for block in blocks for words in list_calls(block.code, "cairn")]
    made = [words for words in calls if words[0] not in NOT_MADE]
    assert made
    for words in made:
        end = cairn(*words)
        assert end.status == 0, f"cairn {' '.join(words)}: {end.err}"


@pytest.mark.parametrize("document", sorted({block.document for block in list_blocks("python")}))
def test_the_python_of_a_document_runs(document: str, folder: Path) -> None:
    """Its blocks are one program, as they are for who types them."""
    blocks = [block for block in list_blocks("python") if block.document == document]
    run_python(blocks)


def run_python(blocks: list[Block]) -> str:
    """Run blocks as one program, and return what it prints."""
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for block in blocks:
            exec(compile(block.code, str(block), "exec"), names)
    return out.getvalue()


def test_the_worked_example_of_gap_prints_what_its_page_says() -> None:
    printed = run_python(list_blocks("python", documents={"": DOCUMENTS["docs/gap.md"]}))
    value, lost = printed.splitlines()
    assert value == "0.375"
    assert sum(eval(lost).values()) == pytest.approx(1 - 0.375)


def test_a_fault_in_a_block_is_named_by_its_document() -> None:
    (block,) = list_blocks("python", documents={"page.md": "```python\n1 / 0\n```\n"})
    with pytest.raises(ZeroDivisionError) as error:
        run_python([block])
    assert error.traceback[-1].frame.code.raw.co_filename == "page.md-0"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_each_cell_is_python(path: Path) -> None:
    """It is run by `make notebook`, on the demo run."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            compile("".join(cell["source"]), path.name, "exec")
