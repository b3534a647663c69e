"""Describe each artifact by a manifest, so that nothing half-written counts as done.

An artifact is a folder (or a file) of a run. Its manifest is written last: without one, or with
one made from other inputs or settings, the artifact is not complete. A manifest holds the hash of
each file and, like all signed JSON, its own; `integrity` compares them. Reads and writes any file
it is given.
"""

import hashlib
import importlib.metadata
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embed.errors import InputError
from embed.files import writing

FORMAT_VERSION = 4
LIBRARIES = (
    *("torch", "timm", "faiss-cpu", "faiss-gpu", "numpy"),
    *("opencv-python-headless", "pillow", "pyarrow"),
)
# Ends signed JSON: the sha256 of all before it.
SIGNATURE = ',\n  "sha256": "{}"\n}}\n'
SIGNED = re.compile(rb'(?s)(.*),\n  "sha256": "([0-9a-f]{64})"\n\}\n')
# The command that makes an artifact, by the name of its folder.
MAKERS = {
    **{"model": "train", "delf": "train"},
    **{"index": "index", "decision": "index", "submit": "submit"},
}
CHANGES = "changes"  # holds a folder a change, see pipelines.runs.changes
PACKED_DATA = "dataset"  # of a run that was packed: its dataset, see pipelines.share
SPLIT_FOLDERS = ("embeddings", "features")  # hold an artifact a split, made in parts
WORK = ".discover"  # the folder, among groups, in which `cairn discover` keeps its run


def write_json(values: object, path: Path) -> None:
    """Write values as indented JSON, whole or not at all."""
    with writing(path) as temporary:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        # A path may hold bytes that are no UTF-8: \udce9, as which Python writes one of them where
        # it cannot encode it, is how JSON writes it, too, so that it is read back as it was.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_signed(values: Mapping[str, Any], path: Path) -> None:
    """Write values, at least one, as JSON that read_signed takes, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_bytes(sign(values))


def sign(values: Mapping[str, Any]) -> bytes:
    """Return values as indented JSON that ends with the sha256 of all before."""
    text = json.dumps(values, indent=2, ensure_ascii=False).removesuffix("\n}")
    return (text + SIGNATURE.format(hashlib.sha256(text.encode()).hexdigest())).encode()


def read_signed(path: Path) -> dict[str, Any]:
    """Return the values of signed JSON.

    Raises:
        FileNotFoundError: no file there.
        InputError: it is not as it was written; the message says what was found, not what to do.
    """
    return parse_signed(path.read_bytes(), str(path))


def parse_signed(content: bytes, name: str) -> dict[str, Any]:
    """Return the values of signed JSON that was read. Raises InputError, which names it so."""
    found = SIGNED.fullmatch(content)
    if found is None:
        raise InputError(f"{name} is damaged: it does not end with its sha256")
    if hashlib.sha256(found[1]).hexdigest().encode() != found[2]:
        raise InputError(f"{name} is damaged: its sha256 differs from the one it ends with")
    values: dict[str, Any] = json.loads(found[1] + b"}")
    return values


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_values(values: object) -> str:
    """Return the sha256 of the values' JSON, keys sorted."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FileRecord:
    """A file as it was when an artifact was made."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None
    seal: str | None = None  # of a file that is read in pieces, see embed.sealed


def record_file(path: Path, rows: int | None = None, seal: str | None = None) -> FileRecord:
    """Describe a file that exists."""
    return FileRecord(path.name, path.stat().st_size, hash_file(path), rows, seal)


@dataclass(frozen=True)
class Manifest:
    """Where an artifact comes from and what is in it."""

    stage: str
    key: str  # sha256 of all that decides the content: settings and inputs
    settings: Mapping[str, Any]  # the part of the recipe that this stage reads
    recipe: str  # name of the recipe
    recipe_sha256: str
    inputs: Mapping[str, str]  # name -> sha256 or fingerprint
    outputs: Sequence[FileRecord]
    model: Mapping[str, Any] = field(default_factory=dict)  # fingerprint and what it is made of
    counts: Mapping[str, int] = field(default_factory=dict)  # requested = written + failed
    details: Mapping[str, Any] = field(default_factory=dict)  # what the stage found out
    seconds: float = 0.0  # of the run that finished the artifact
    format: int = FORMAT_VERSION
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Hash of the key and of what came out: a file that was mended, and then done again."""
        return hash_values([self.key, [record.sha256 for record in self.outputs]])


def make_key(stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the sha256 that tells whether an artifact is still the one asked for."""
    return hash_values([FORMAT_VERSION, stage, dict(settings), dict(inputs)])


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write manifest.json with the versions of the libraries in use.

    Raises:
        ValueError: requested != written + failed.
    """
    counts = manifest.counts
    if counts and counts["requested"] != counts["written"] + counts["failed"]:
        raise ValueError(f"{manifest.stage}: counts do not add up: {dict(counts)}")
    values = asdict(manifest)
    values["libraries"] = {name: importlib.metadata.version(name) for name in _installed()}
    write_signed(values, folder / "manifest.json")


def _installed() -> list[str]:
    """Return the LIBRARIES that are there: faiss-gpu may stand in for faiss-cpu."""
    names = {name.name.lower() for name in importlib.metadata.distributions() if name.name}
    return [name for name in LIBRARIES if name in names]


def load_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of an artifact, or None if it has none.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    path = folder / "manifest.json"
    try:
        values = read_signed(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError as error:
        raise InputError(f"{error}; {remedy_file(folder)}") from error
    if values["format"] != FORMAT_VERSION:
        raise InputError(
            f"{path} was written by another version of Cairn (format {values['format']}, this one "
            f"has {FORMAT_VERSION}); {remedy(folder)}"
        )
    values["outputs"] = [FileRecord(**record) for record in values["outputs"]]
    return Manifest(**values)


def remedy(folder: Path) -> str:
    """Say how an artifact is made anew: by one command where it is a run's."""
    if folder.parent.name == CHANGES:  # what was added is nowhere else
        return (
            f"put it back from a copy; or save {folder / 'images'}, delete {folder} and add those "
            "photos again: cairn add"
        )
    if _is_split(folder):  # whole parts are kept
        return f"delete {folder / 'manifest.json'}, and make it anew: {name_maker(folder)}"
    if folder.name == PACKED_DATA and (folder.parent / "run.json").is_file():
        return "unpack the run again"
    command = name_maker(folder, redo=True)
    if command is None:
        return f"delete {folder}, and the same command makes it anew"
    return f"make it anew: {command}"


def remedy_file(folder: Path, *, missing: bool = False) -> str:
    """Say how one file of an artifact is made anew: of one that is made in parts, it alone."""
    if not _is_split(folder):
        return remedy(folder)
    return f"{'' if missing else 'delete it, and '}make it anew: {name_maker(folder)}"


def name_maker(folder: Path, *, redo: bool = False) -> str | None:
    """Return the command that makes an artifact of a run; None where there is no one command.

    Args:
        folder: of the artifact.
        redo: it is there, and made again; of a split that takes no option.
    """
    if again := name_discover(folder):
        return None if folder.name in MAKERS else again
    if folder.is_symlink():  # model/ of an ensemble is its first member's
        folder = folder.parent / folder.readlink()
    if _is_split(folder):
        run, command = folder.parent.parent, _name_split_maker(folder)
    elif folder.name in MAKERS:
        run, command = folder.parent, f"{MAKERS[folder.name]} {'--redo ' * redo}--run"
    else:
        return None
    if run.parent.name == "members":  # the command of the whole run does all its members
        run = run.parent.parent
    return f"cairn {command} {shlex.quote(str(run))}"


def name_discover(path: Path) -> str | None:
    """Return the command that makes a file in a WORK folder anew; None for a file elsewhere."""
    work = next((folder for folder in path.parents if folder.name == WORK), None)
    if work is None:
        return None
    photos = shlex.quote(read_heap(work) or "PHOTOS")
    return f"cairn discover {photos} --into {shlex.quote(str(work.parent))} --redo"


def read_heap(work: Path) -> str | None:
    """Return the folder of the photos that a WORK folder is of; None where nothing says so."""
    try:
        return str(json.loads((work / "data" / "dataset.json").read_text("utf-8"))["heap"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _is_split(folder: Path) -> bool:
    """Tell whether an artifact is of a split, and not of a run that is called "features"."""
    return folder.parent.name in SPLIT_FOLDERS and (
        folder.name not in MAKERS
        or (folder.name == "index" and not (folder.parent / "run.json").is_file())
    )


def _name_split_maker(folder: Path) -> str:
    """Return the command that makes what is missing of a split: each stage makes its own splits."""
    if folder.name == "test":
        return "submit --run"
    if folder.name == "train" and (folder.parent / "index").is_dir():  # which is what is searched
        return "data clean"
    return "index --run"


def invalidate(folder: Path) -> None:
    """Make a folder and take its manifest away: what is written next counts when it is back.

    What an interrupted run left half-written goes, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)
    for stray in folder.glob(".*.tmp*"):
        stray.unlink()
