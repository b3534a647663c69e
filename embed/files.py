"""Write files whole or not at all, under a temporary name first.

Writes any path it is given.
"""

import contextlib
import errno
import glob
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError


@contextlib.contextmanager
def writing(path: Path, temporary: Path | None = None, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary name; rename it to path when the block ends well.

    Args:
        path: of the file; its folder is made where it is missing.
        temporary: on the same file system, and nobody else's at the time. None: a name beside path
            with its suffix, and what a killed process left beside it is deleted. That looks through
            the whole folder: name one where there are very many files.
        sync: False does not wait for the disk: after a loss of power the file may be empty.

    Raises:
        InputError: a folder or a device has this name, or no file or folder can be made there.
    """
    if path.exists() and not path.is_file():  # os.replace would take a device away
        kind = "a folder" if path.is_dir() else "no regular file"
        raise InputError(f"{path} is {kind}; name another file, or move that away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise
        reason = os.strerror(error.errno or 0).lower()
        raise InputError(f"{path.parent} cannot be made ({reason}); name another file") from error
    if temporary is None:
        for stray in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{glob.escape(path.suffix)}"):
            stray.unlink(missing_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        try:
            yield temporary
        except OSError as error:
            if error.filename != str(temporary) or is_disk_full(error):
                raise
            reason = os.strerror(error.errno or 0).lower()
            raise InputError(f"{path} cannot be written ({reason}); name another file") from error
        if sync:
            with temporary.open("rb") as file:  # not for writing: it may link to a user's photo
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or one that it wraps, says that there is no space left."""
    # Arrow, torch and faiss wrap the system's error; at least its text survives.
    numbers = {errno.ENOSPC, errno.EDQUOT}
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    # All that torch says when it could not write a checkpoint to its end, for whatever reason.
    if "inline_container.cc" in str(error) and "unexpected pos" in str(error):
        return True
    below = error.__cause__ or error.__context__
    return any(os.strerror(n) in str(error) for n in numbers) or (
        below is not None and is_disk_full(below)
    )
