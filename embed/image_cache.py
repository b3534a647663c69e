"""Keep decoded and shrunk images of a training on disk, so that later epochs decode none.

Writes a file an image into a folder of its own, and removes it with all that is in it. Knows
nothing of training but its number of epochs. A cache that cannot be written is no error: images
are decoded then.

A file is read, not mapped: most of its few 100 kB are used, which are read in less time (0.04 ms)
than a mapping takes, and a file that was cut short cannot end the process.
"""

import contextlib
import errno
import hashlib
import logging
import multiprocessing
import os
import shutil
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .image_file import FileSlice, ImageFile

logger = logging.getLogger(__name__)

HEADER = struct.Struct("<II")  # height, width
FREE_SHARE = 0.5  # of the free disk that may be taken: checkpoints need some


class ImageCache:
    """Images by file and size; shared by the processes that are started once it is there."""

    def __init__(self, folder: Path, limit: int, epochs: int) -> None:
        """Make the folder empty.

        Args:
            folder: nothing else is in it.
            limit: bytes that all images may take; no more than half of the free disk is.
            epochs: of the training, in the last of which nothing is kept.
        """
        self.folder, self.epochs, self.limit = folder, epochs, 0
        # Nothing is ever replaced: where all images come once an epoch, none is worth more than
        # another.
        self._used = multiprocessing.Value("q", 0)  # bytes
        self._refused = multiprocessing.Value("q", 0)  # images, each as often as it came
        self._error = multiprocessing.Value("i", 0)  # number of the system's error; 0: none
        self._logged = False
        self.remove()
        try:
            folder.mkdir(parents=True)
            free = int(FREE_SHARE * shutil.disk_usage(folder).free)
        except OSError as error:
            self._error.value = error.errno or errno.EIO
            return
        self.limit = min(limit, free)

    def load(self, file: ImageFile, side: int) -> NDArray[np.uint8] | None:
        """Return the pixels [H, W, 3] that are kept of a file, read-only; None if there are none.

        Args:
            file: that they were decoded from; of one that has changed since, there are none.
            side: they were shrunk for, in pixels.
        """
        try:
            data = self._locate(file, side).read_bytes()
            height, width = HEADER.unpack_from(data)
            pixels = np.frombuffer(data, np.uint8, offset=HEADER.size)
            return pixels.reshape(height, width, 3)
        except (OSError, ValueError, struct.error):  # not kept, or cut short: decode it
            return None

    def store(self, file: ImageFile, side: int, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """Keep the pixels [H, W, 3] of a file, if there is room and a later epoch.

        Args:
            file: that they were decoded from.
            side: they were shrunk for, in pixels.
            epoch: counted from 0.
            pixels: of the image.
        """
        if epoch + 1 >= self.epochs or self._error.value or not self._reserve(pixels.nbytes):
            return
        temporary = self.folder / f"{os.getpid()}.tmp"
        try:
            path = self._locate(file, side)
            with temporary.open("wb") as stream:
                stream.write(HEADER.pack(*pixels.shape[:2]))
                stream.write(np.ascontiguousarray(pixels).data)
            os.replace(temporary, path)
        except OSError as error:
            self._error.value = error.errno or errno.EIO
            with contextlib.suppress(OSError):
                temporary.unlink()

    def tell(self) -> None:
        """Log, once, why images are not kept any more, if so."""
        refused, error = self._refused.value, self._error.value
        if self._logged or not (refused or error):
            return
        self._logged = True
        if error:
            logger.warning(
                "decoded images cannot be kept in %s (%s): each epoch decodes those that are not "
                "there",
                *(self.folder, os.strerror(error).lower()),
            )
            return
        logger.info(
            "%.1f GB of decoded images are kept, the others are decoded each epoch: see "
            "train.cache_gigabytes; half of the free disk is taken at most",
            self._used.value / 1e9,
        )

    def remove(self) -> None:
        """Delete the folder, whatever is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reserve(self, count: int) -> bool:
        """Take so many bytes of the limit, if they are left."""
        with self._used.get_lock():
            fits = self._used.value + count <= self.limit
            if fits:
                self._used.value += count
            else:
                self._refused.value += 1
            return bool(fits)

    def _locate(self, file: ImageFile, side: int) -> Path:
        """Return where the pixels of a file are; its place, size and time stand for its content.

        Raises:
            OSError: there is no such file.
        """
        path, offset = (file.path, file.offset) if isinstance(file, FileSlice) else (file, 0)
        status = path.stat()
        identity = repr((str(path), offset, status.st_size, status.st_mtime_ns, side))
        return self.folder / hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
