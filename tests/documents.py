"""Read what the documents tell people to type: blocks of code, and the calls in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The map says which files there are; its test is tests/test_docs_map.py.
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
    if path.name != "map.md"
}
SHELL = {"sh", "bash", "console"}
FENCE = re.compile(r"^ *(```|~~~)([^\n]*)\n(.*?)^ *\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code of a document."""

    document: str
    number: int  # among its blocks, from 0
    language: str
    code: str

    def __str__(self) -> str:
        """Name it as the ids of tests do."""
        return f"{self.document}-{self.number}"


def list_blocks(*languages: str, documents: dict[str, str] = DOCUMENTS) -> list[Block]:
    """Return the blocks in these languages, in the order of the documents."""
    found = [
        Block(name, number, language.strip(), code)
        for name, text in documents.items()
        for number, (_, language, code) in enumerate(FENCE.findall(text))
    ]
    return [block for block in found if block.language in languages]


def list_calls(code: str, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of a program in a block for a shell."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0].removeprefix(".venv/bin/") == program:
            yield words[1:]
