"""One file that holds many: a ZIP whose members are stored as they are, and a signed listing.

A ZIP because every system opens it, its contents are listed at its end, so that one cut short is
told at once, and no member can be a link or a device where only plain ones are taken. Stored,
because weights, features and photos do not get smaller; so no archive unpacks into more than its
own size. The listing, pack.json, says name, bytes and sha256 of each member. Sums tell damage, not
who packed: whoever hands an archive on can publish the sha256 of the whole.
"""

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from embed.errors import InputError, MissingFileError
from embed.files import writing
from embed.printable import printable
from pipelines.artifacts import parse_signed, sign
from pipelines.runs.packed import FORMAT, LISTING

from .names import check_names

CHUNK = 1 << 20  # bytes that are copied at a time
MOST_LISTED = 256 << 20  # bytes of the listing, and of the ZIP's own: of a million files or more
EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every member: the same run gives the same bytes
END = struct.Struct("<4s4H2LH")  # the end of a ZIP's own listing, without a comment
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    bytes: int
    sha256: str


@dataclass
class ArchiveWriter:
    """Writes the members of an archive, one after the other."""

    _zip: zipfile.ZipFile
    members: list[Member] = field(default_factory=list)

    def add_file(self, name: str, path: Path) -> Member:
        """Write a file as it is; return what was read."""
        with path.open("rb") as source:
            return self._add(name, source, path.stat().st_size)

    def add_bytes(self, name: str, content: bytes) -> None:
        """Write a file that is in memory."""
        self.members.append(_describe(name, content))
        self._zip.writestr(_make_info(name, len(content)), content)

    def _add(self, name: str, source: IO[bytes], size: int) -> Member:
        digest, count = hashlib.sha256(), 0
        with self._zip.open(_make_info(name, size), "w", force_zip64=size >= 1 << 31) as target:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                count += target.write(chunk)
        member = Member(name, count, digest.hexdigest())
        self.members.append(member)
        return member


@contextmanager
def writing_archive(path: Path, facts: Mapping[str, Any]) -> Iterator[ArchiveWriter]:
    """Yield what writes an archive, which is whole when the block ends well, or not there.

    Args:
        path: of the archive.
        facts: for the listing, besides its format and the files.

    Raises:
        InputError: a name is refused (see check_names), or the file cannot be written.
    """
    with writing(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            writer = ArchiveWriter(file)
            yield writer
            check_names(member.name for member in writer.members)
            files = [asdict(member) for member in writer.members]
            listing = sign({"format": FORMAT, **facts, "files": files})
            file.writestr(_make_info(LISTING, len(listing)), listing)


def _make_info(name: str, size: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # Unix
    info.file_size = size
    return info


def _describe(name: str, content: bytes) -> Member:
    return Member(name, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Archive:
    """An archive that is open: what its listing says, and how to take a member out."""

    path: Path
    listing: bytes  # as it is in the archive
    facts: Mapping[str, Any]  # what the listing says besides its files
    members: tuple[Member, ...]
    _zip: zipfile.ZipFile

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        """Open an archive and judge all that it says of itself; nothing is unpacked.

        Raises:
            MissingFileError: there is no file.
            InputError: it is no archive of a run, cut short, damaged, of a newer format, or one
                that no `cairn pack` writes: with a link, a device, a compressed or encrypted
                member, two members of one name, or names that check_names refuses.
        """
        if not path.is_file():
            raise MissingFileError(f"no file {path}; name one that `cairn pack` wrote")
        try:
            _limit_listing(path)
            with zipfile.ZipFile(path) as file:
                infos = _read_infos(path, file)
                content, values = _read_listing(path, file, infos)
                members = tuple(_read_members(path, values.pop("files", None)))
                _compare(path, infos, members)
                yield cls(path, content, values, members, file)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
            raise InputError(f"{path} is damaged ({error}); copy or download it again") from error

    def extract(self, folder: Path, advance: Callable[[int], None]) -> None:
        """Write all members, and the listing, into a folder that is empty and nobody else's.

        Args:
            folder: that is there.
            advance: called with the number of bytes written since the last call.

        Raises:
            InputError: a member is not as the listing says.
        """
        for member in self.members:
            place = folder / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with self._zip.open(member.name) as source, place.open("xb") as target:
                found = _copy(source, target, member.bytes, advance)
                target.flush()
                os.fsync(target.fileno())
            if found != member.sha256:
                raise InputError(
                    f"{self.path} is damaged: {printable(member.name)} is not as it was packed; "
                    "copy or download it again"
                )
        (folder / LISTING).write_bytes(self.listing)


def _copy(
    source: IO[bytes], target: IO[bytes], most: int, advance: Callable[[int], None]
) -> str | None:
    """Copy bytes, `most` and no more; return their sha256, None if there are more or fewer."""
    digest, count = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        count += len(chunk)
        if count > most:
            return None
        digest.update(chunk)
        target.write(chunk)
        advance(len(chunk))
    return digest.hexdigest() if count == most else None


def _limit_listing(path: Path) -> None:
    """Refuse a file that does not end as a ZIP without a comment, or whose own listing is too long.

    Before zipfile reads that listing, each entry of which takes it a thousand bytes.
    """
    advice = "copy or download it again, or name one that `cairn pack` wrote"
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - END.size - LOCATOR64.size - END64.size, 0))
        tail = file.read()
    if len(tail) < END.size or not tail[-END.size :].startswith(b"PK\5\6"):
        raise InputError(f"{path} is no packed run, or it is cut short; {advice}")
    listed = END.unpack(tail[-END.size :])[5]
    before = tail[: -END.size]
    if before[-LOCATOR64.size :].startswith(b"PK\6\7"):
        listed = END64.unpack(before[: END64.size])[8]
    if listed > MOST_LISTED // 4:
        raise InputError(f"{path} is no packed run: its listing has {listed:,} bytes; {advice}")


def _read_infos(path: Path, file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, all of which are plain files, stored as they are."""
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = printable(info.filename)
        if info.filename in infos:
            raise InputError(f"{path} has two files '{name}': no `cairn pack` wrote it")
        if kind not in (0, stat.S_IFREG) or info.is_dir():
            raise InputError(f"{path} has '{name}', which is no plain file: no `cairn pack` did")
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not stored or info.flag_bits & 1:
            raise InputError(f"{path} has '{name}' compressed or encrypted: no `cairn pack` did")
        infos[info.filename] = info
    return infos


def _read_listing(
    path: Path, file: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo]
) -> tuple[bytes, dict[str, Any]]:
    """Return the listing, as bytes and as values; its format is one that is known."""
    info = infos.get(LISTING)
    if info is None:
        raise InputError(f"{path} is no packed run: it has no {LISTING}; name one that is")
    if info.file_size > MOST_LISTED:
        raise InputError(f"{path} is no packed run: its {LISTING} has {info.file_size:,} bytes")
    content = file.read(info)
    try:
        values = parse_signed(content, f"{path}: {LISTING}")
    except (ValueError, RecursionError) as error:  # signed, but by nothing of ours
        raise InputError(f"{path} is no packed run: {LISTING} is no JSON ({error})") from error
    found = values.pop("format", None)
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise InputError(
            f"{path} was packed by {'a newer' if newer else 'another'} version of Cairn (format "
            f"{found}, this one reads {FORMAT}); {'update Cairn' if newer else 'pack it anew'}"
        )
    return content, values


def _read_members(path: Path, files: Any) -> Iterator[Member]:
    """Yield what the listing says of each file."""
    kinds = {"name": str, "bytes": int, "sha256": str}
    for each in files if isinstance(files, list) else [None]:
        if not isinstance(each, dict) or {n: type(value) for n, value in each.items()} != kinds:
            raise InputError(f"{path} is no packed run: {LISTING} does not list its files")
        yield Member(**each)


def _compare(path: Path, infos: Mapping[str, zipfile.ZipInfo], members: tuple[Member, ...]) -> None:
    """Refuse an archive whose members are not those of its listing, by name and size."""
    try:
        check_names(member.name for member in members)
    except InputError as error:
        raise InputError(f"{path}: {error}: no `cairn pack` wrote it") from error
    sizes = {member.name: member.bytes for member in members}
    found = {name: info.file_size for name, info in infos.items() if name != LISTING}
    if sizes != found:
        odd = min(
            name for name in sizes.keys() | found.keys() if sizes.get(name) != found.get(name)
        )
        raise InputError(
            f"{path} is damaged: '{printable(odd)}' is not there, or not as long, as {LISTING} "
            "says; copy or download it again"
        )
    if sum(sizes.values()) > path.stat().st_size:
        raise InputError(f"{path} is no packed run: its files are larger than itself")
