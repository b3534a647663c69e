"""Shell completion: it is installed by its command, works in bash, and loads nothing heavy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CALL = "from pipelines.cli import main; main()"


def complete(words: str) -> list[str]:
    """Return what is offered for the last of some words."""
    environment = {
        **os.environ,
        "_CAIRN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    heavy = "'torch', 'faiss', 'cv2', 'pandas', 'pyarrow', 'matplotlib', 'aiohttp'"
    code = (
        "import atexit, sys;"
        f"atexit.register(lambda: print([m for m in ({heavy}) if m in sys.modules], "
        f"file=sys.stderr));{CALL}"
    )
    end = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert end.stderr.strip() == "[]"
    return end.stdout.split()


def test_commands_and_options_are_offered() -> None:
    assert complete("cairn qu") == ["query"]
    assert complete("cairn query --sort") == ["--sort-into"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_it_is_installed_for_bash_by_its_command(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program = bin_folder / "cairn"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{CALL}\n"
    )
    program.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }
    script = (
        "cairn --install-completion bash >/dev/null && source ~/.bashrc &&"
        "COMP_WORDS=(cairn data sel) && COMP_CWORD=2 && _cairn_completion cairn &&"
        'echo "${COMPREPLY[@]}" && complete -p cairn'
    )
    end = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    offered, registered = end.stdout.splitlines()
    assert offered == "select"
    assert "_cairn_completion cairn" in registered
