"""What a user can mend is told apart from faults of ours, in every file that faces users."""

import ast
import pickle
from pathlib import Path

import pytest

from embed.decode_result import ImageError
from embed.errors import InputError, MissingFileError

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
# Files whose plain errors are contracts between functions, or are caught and told by another.
CONTRACTS = {
    "answers/answer.py",
    "answers/photo.py",
    "artifacts.py",
    "recognizer.py",
    "datasets/checking/hash_pairs.py",
    "serve/api.py",  # pydantic tells whoever asked
    "sources/city/landmarks.py",
    "sources/city/lens.py",
    "sources/city/solids.py",
    "sources/city/workshop.py",
    "datasets/facts/class_sizes.py",
    "reports/explain_figure.py",
    "sources/revisited/plain_pickle.py",
}
PLAIN = {"ValueError", "OSError", "FileNotFoundError", "FileExistsError", "PermissionError"}
PLAIN |= {"KeyError", "IndexError", "TypeError", "RuntimeError", "ImportError", "AssertionError"}


def plain_raises(path: Path) -> list[int]:
    """Return the lines that raise an error of Python's own."""
    calls = (
        node.exc
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    )
    return [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id in PLAIN]


def test_what_pipelines_raise_is_for_users_but_for_contracts() -> None:
    found = {
        str(path.relative_to(PIPELINES)) for path in PIPELINES.rglob("*.py") if plain_raises(path)
    }
    assert found == CONTRACTS


def test_a_missing_file_is_both_missing_and_to_be_mended() -> None:
    with pytest.raises(InputError, match="no table at x"):
        raise MissingFileError("no table at x")
    assert issubclass(MissingFileError, FileNotFoundError)


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (InputError("one"), ("one",)),
        (InputError("two things", "- a\nb", "- c"), ("two things", "- a\nb", "- c")),
        (MissingFileError("gone"), ("gone",)),
        (
            ImageError("empty", "has no bytes", "a\n.jpg"),
            ("a .jpg: has no bytes; copy or download the file again (empty)",),
        ),
    ],
)
def test_the_lines_of_a_message_are_its_own(error: InputError, lines: tuple[str, ...]) -> None:
    assert error.lines == lines
    assert str(error) == "\n".join(lines)
    assert pickle.loads(pickle.dumps(error)).lines == lines
