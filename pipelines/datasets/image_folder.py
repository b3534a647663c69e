"""Find where each image of a dataset is: a file in images/, or a part of a tar there.

Lists images/ and reads its tars.parquet. Opens no image.
"""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from embed.errors import MissingFileError
from embed.image_file import FileSlice, ImageFile
from embed.printable import printable
from pipelines.datasets.tars.index import INDEX_NAME, Places, TarIndex

from .images import SUFFIXES
from .naming import compose, spellings

WALKED = 200_000  # files that are looked at to tell where a missing image might be


class ImageFolder:
    """The folder images/ of a dataset; listed when first asked."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not be there yet."""
        self.folder = folder

    def locate(self, image_id: str) -> ImageFile:
        """Return where an image is, or where it was expected if it is nowhere.

        Looked for as <id>.jpg (another of SUFFIXES, in any case, or none), in the tars that
        tars.parquet lists, and as a/b/c/<id>.jpg, where a, b and c are the first characters of the
        id. Where no file is spelled as the id, one counts that differs in the Unicode form alone.

        Raises:
            MissingFileError: there is no folder.
            ValueError: tars.parquet is damaged, or one of its tars has changed.
        """
        return self.choose(image_id, None if self.tars is None else self.tars.locate(image_id))

    def choose(self, image_id: str, place: FileSlice | None) -> ImageFile:
        """As locate, of an image whose place in a tar is known; None if it is in no tar."""
        name = self._flat_files.get(image_id) or self._composed_files.get(compose(image_id))
        if name is not None:
            return self.folder / name
        if place is not None:
            return place
        names = (Path(*form[:3]) / f"{form}.jpg" for form in spellings(image_id))
        nested = (path for name in names if (path := self.folder / name).is_file())
        return next(nested, self.folder / f"{image_id}.jpg")

    def explain_missing(self, image_id: str) -> str:
        """Say where below the folder an image is that locate does not find, and what to do, or "".

        Walks through folders, of WALKED files at most: for an error, not for each image.
        """
        forms, looked_at = spellings(image_id), 0
        for folder, below, names in os.walk(self.folder):
            below.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                if name in forms or (stem in forms and suffix.lower() in SUFFIXES):
                    return (
                        f"{printable(os.path.join(folder, name))} has its name: move all such "
                        f"files into {printable(str(self.folder))} itself"
                    )
            looked_at += len(names)
            if looked_at > WALKED:
                break
        return ""

    def locate_all(self, ids: Sequence[str]) -> "LocatedImages":
        """Return where each of many images is; errors are locate's."""
        places = None if self.tars is None else self.tars.locate_all(ids)
        return LocatedImages(self, ids, places)

    def holds(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return which images have a file, or a part of a tar [N]; errors are locate's."""
        found = np.array([image_id in self._flat_files for image_id in ids], dtype=bool)
        places = None if self.tars is None or found.all() else self.tars.locate_all(ids)
        for row in np.flatnonzero(~found).tolist():
            file = self.choose(ids[row], None if places is None else places[row])
            found[row] = isinstance(file, FileSlice) or os.path.isfile(file)
        return found

    @cached_property
    def tars(self) -> TarIndex | None:
        """Where the images in tars are; None without tars.parquet."""
        path = self.folder / INDEX_NAME
        return TarIndex.load(path) if path.is_file() else None

    @cached_property
    def _flat_files(self) -> dict[str, str]:
        """File name by id, of the files directly in the folder; the first suffix wins."""
        if self.folder.is_symlink() and not self.folder.exists():
            raise MissingFileError(
                f"{self.folder} leads to {self.folder.readlink()}, which is gone: the images of "
                "the dataset that this one was made from"
            )
        if not self.folder.is_dir():
            raise MissingFileError(
                f"{self.folder.parent} has no folder images/ with the image files"
            )
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if _may_be_image(entry)]
        found: dict[str, str] = {}
        found.update({name: name for name in names if not name.lower().endswith(SUFFIXES)})
        for suffix in reversed(SUFFIXES):
            matching = (name for name in names if name.lower().endswith(suffix))
            found.update({name[: -len(suffix)]: name for name in sorted(matching)})
        return found

    @cached_property
    def _composed_files(self) -> dict[str, str]:
        """File name by composed id, of the files whose names are not ASCII; the first wins."""
        odd = [stem for stem in sorted(self._flat_files, reverse=True) if not stem.isascii()]
        return {compose(stem): self._flat_files[stem] for stem in odd}


def _may_be_image(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is no folder; of those named as images it is not asked, for speed."""
    return entry.name.lower().endswith(SUFFIXES) or not entry.is_dir()


class LocatedImages(Sequence[ImageFile]):
    """Where many images are, each looked up when it is asked for.

    A list of four million paths would take 2 GB, and as much again in every process that decodes.
    """

    def __init__(self, folder: ImageFolder, ids: Sequence[str], places: Places | None) -> None:
        """Take the ids [N] and their places [N] in tars, if the folder has some."""
        self._folder, self._ids, self._places = folder, ids, places

    def __len__(self) -> int:
        """Count the images."""
        return len(self._ids)

    @overload
    def __getitem__(self, place: int) -> ImageFile: ...
    @overload
    def __getitem__(self, place: slice) -> "LocatedImages": ...
    def __getitem__(self, place: int | slice) -> "ImageFile | LocatedImages":
        """Return where one image is, or some of them."""
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        in_tar = None if self._places is None else self._places[place]
        return self._folder.choose(self._ids[place], in_tar)

    def take(self, rows: NDArray[np.int64]) -> "LocatedImages":
        """Return those of some rows, in their order."""
        places = None if self._places is None else self._places.take(rows)
        return LocatedImages(self._folder, [self._ids[row] for row in rows], places)
