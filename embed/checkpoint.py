"""Keep the state of a training so that it can go on: whole, and as it was written.

torch loads a checkpoint with a flipped bit without a word, so the file ends with the sha256 of all
before. Reads and writes any path it is given.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from .errors import InputError
from .files import writing

DIGEST = 32  # bytes of a sha256


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a state of tensors and plain values whole or not at all."""
    with writing(path) as temporary, temporary.open("w+b") as file:
        torch.save(state, file)  # into a path it would hide the error of a full disk
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0, os.SEEK_END)
        file.write(digest)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state, its tensors on the CPU.

    Raises:
        InputError: the file is not as it was written.
    """
    content = memoryview(path.read_bytes())
    body, digest = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise InputError(
            f"{path} is damaged: its sha256 differs from the one it ends with; delete it, and the "
            "same command trains from the start"
        )
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state
