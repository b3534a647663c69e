"""Say where the bytes of an image are: a file of its own, or a part of a larger one; read them.

Reads the one file it is given.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

from .decode_result import ImageError


@dataclass(frozen=True)
class FileSlice:
    """An image inside a larger file, such as an uncompressed tar."""

    path: Path
    offset: int  # bytes from the start of the file
    size: int  # bytes

    def __str__(self) -> str:
        """Name the place for people."""
        return f"{self.path} from byte {self.offset}"


ImageFile = Path | FileSlice


def limit_bytes(max_pixels: int) -> int:
    """Return how large a file may be: 16-bit RGBA, uncompressed, and a motion photo's video."""
    return 8 * max_pixels + (64 << 20)


def read_image_file(file: ImageFile, limit: int) -> bytes:
    """Return the bytes of an image.

    Args:
        file: where it is.
        limit: bytes; a larger image is refused before it is read.

    Raises:
        ImageError: the file is missing, no regular file, may not or cannot be read, ends within
            the slice, or the image is too large.
    """
    path = file.path if isinstance(file, FileSlice) else file
    try:
        status = path.stat()  # before it is opened: opening a pipe would wait for a writer
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ImageError("not_a_file", f"is {kind}", str(file))
        size = file.size if isinstance(file, FileSlice) else status.st_size
        if size > limit:
            raise ImageError("too_large", f"{size} bytes > {limit} bytes", str(file))
        data = path.read_bytes() if isinstance(file, Path) else _read_slice(file)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("missing", "no such file", str(file)) from error
    except PermissionError as error:
        raise ImageError("no_permission", "permission denied", str(file)) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        found = f"cannot be read: {getattr(error, 'strerror', error)}"
        raise ImageError("unreadable", found, str(file)) from error
    if isinstance(file, FileSlice) and len(data) < file.size:
        found = f"the file ends after {len(data)} of its {file.size} bytes"
        raise ImageError("truncated", found, str(file))
    return data


def _read_slice(file: FileSlice) -> bytes:
    with file.path.open("rb", buffering=0) as stream:
        stream.seek(file.offset)
        return stream.read(file.size) or b""
