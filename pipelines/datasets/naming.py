"""Name things after files and folders: ids that any file system takes, and names of landmarks.

Unicode writes many letters in two ways, é as one character or as e and an accent; which of them a
file name has depends on the system that wrote it. Names are compared, and kept, composed (NFC).
Reads and writes nothing.
"""

import hashlib
import re
import unicodedata
from collections.abc import Container
from pathlib import Path

from embed.printable import printable

# Bytes of an id. A file name has 255 at most: this leaves room for a suffix, for the mark of a
# variant and for what a temporary name adds (artifacts.writing).
MAX_ID = 200
_HASHED = 8  # hexadecimal digits that tell apart ids that were cut
_SLASHES = re.compile(r"[/\\]")


def is_text(name: str) -> bool:
    r"""Tell whether a file name is text: bytes that are no UTF-8 can stand in no table.

    >>> is_text("café.jpg"), is_text("caf\udce9.jpg")
    (True, False)
    """
    return name.isascii() or not re.search("[\ud800-\udfff]", name)


def spellings(text: str) -> tuple[str, ...]:
    """Return a text as it is, composed (NFC) and decomposed (NFD), each form once."""
    if text.isascii():
        return (text,)
    forms = (text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))
    return tuple(dict.fromkeys(forms))


def compose(text: str) -> str:
    """Return a text composed (NFC)."""
    return unicodedata.normalize("NFC", text)


def name_landmark(folder: str) -> str:
    r"""Return the name of a landmark: on one line, composed, the same however it is spelled.

    >>> name_landmark("new\nline"), name_landmark("Cafe\u0301") == "Caf\xe9"
    ('new line', True)
    """
    return printable(compose(folder))


def make_id(text: str) -> str:
    r"""Return an id for a text, good for a file name and a table.

    Composed; slashes and what cannot be shown become _, as does a leading dot. An id of more than
    MAX_ID bytes is cut, and ends in a hash of the whole text.

    >>> make_id("a/b\n.c"), len(make_id("é" * 150).encode())
    ('a_b_.c', 199)
    """
    composed = _SLASHES.sub("_", compose(text))
    if printable(composed) != composed:
        composed = "".join(c if printable(c) == c else "_" for c in composed)
    if composed.startswith("."):
        composed = f"_{composed[1:]}"
    if len(composed.encode()) <= MAX_ID:
        return composed
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASHED]
    kept = composed.encode()[: MAX_ID - _HASHED - 1].decode(errors="ignore")
    return f"{kept}-{digits}"


def name_photo(path: Path, taken: Container[str] = ()) -> str:
    """Return an id for the photo in a file, after its folder and itself.

    Args:
        path: of the file.
        taken: ids that others have: tower.jpg beside tower.png, a/b-c.jpg beside a-b/c.jpg.

    >>> name_photo(Path("a-b/c.jpg")), name_photo(Path("a/b-c.JPG"), {"a-b-c"})
    ('a-b-c', 'a-b-c_jpg')
    """
    image_id = make_id(f"{path.parent.name}-{path.stem}")
    while image_id in taken:
        image_id = make_id(f"{image_id}_{path.suffix.lower()[1:]}")
    return image_id
