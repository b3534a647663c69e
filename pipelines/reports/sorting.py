"""Sort photos into folders of links, one a landmark; nothing that is there is changed."""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from embed.errors import InputError
from pipelines.answers.answer import Answer
from pipelines.datasets.naming import make_id

UNKNOWN, UNREADABLE = "_unknown", "_unreadable"
LONGEST_SUFFIX = 8  # characters of a file's suffix that are kept


def name_folders(landmarks: Iterable[tuple[int, str | None]]) -> dict[int, str]:
    """Return the folder of each landmark: its name, as far as a file system takes it.

    Names that differ only in case, or in what no file name has, get their labels behind them.

    Args:
        landmarks: labels and names of all; the same give the same folders.

    >>> name_folders([(1, "Old mill"), (2, "a/b"), (3, "A_B"), (4, None), (5, "_unknown")])
    {1: 'Old mill', 4: '4', 2: 'a_b-2', 3: 'A_B-3', 5: '_unknown-5'}
    """
    alike: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for label, name in sorted(landmarks, key=lambda each: each[0]):
        folder = make_id((name or "").strip()) or str(label)
        alike[folder.casefold()].append((label, folder))
    taken = {UNKNOWN, UNREADABLE}
    lonely = {key: found[0] for key, found in alike.items() if len(found) == 1}
    folders = {label: name for key, (label, name) in lonely.items() if key not in taken}
    taken |= lonely.keys()
    for label, name in (each for found in alike.values() for each in found):
        if label in folders:
            continue
        numbered = make_id(f"{name}-{label}")
        while numbered.casefold() in taken:
            numbered = make_id(f"{numbered}-{label}")
        taken.add(numbered.casefold())
        folders[label] = numbered
    return folders


def name_link(photo: Path) -> str:
    """Return the name of the link to a photo, in which no odd character of its own is left.

    >>> name_link(Path("a/.IMG 1.JPG")), name_link(Path("b/no.such very long suffix"))
    ('_IMG 1.JPG', 'no.such very long suffix')
    """
    suffix = photo.suffix
    if not suffix.isascii() or not suffix.isprintable() or len(suffix) > LONGEST_SUFFIX:
        return make_id(photo.name)
    return f"{make_id(photo.stem)}{suffix}"


class SortedPhotos:
    """A folder with a folder of links for each landmark that was recognised."""

    def __init__(self, folder: Path, landmarks: Iterable[tuple[int, str | None]]) -> None:
        """Take the folder and all landmarks that may be answered, with their names.

        Raises:
            InputError: a file has the name of the folder.
        """
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; name a folder to sort into")
        self.folder, self.folders = folder, name_folders(landmarks)

    def place(self, answer: Answer) -> None:
        """Link the photo of an answer, whose image is the path of a file; a missing one is left.

        Raises:
            InputError: the link cannot be made.
        """
        photo = Path(answer.image)
        if not photo.is_file():
            return
        if answer.error:
            inner = UNREADABLE
        elif answer.label is None:
            inner = UNKNOWN
        else:
            inner = self.folders.get(answer.label) or make_id(f"{answer.name}-{answer.label}")
        try:
            _link(photo.resolve(), self.folder / inner)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise InputError(f"{photo}: no link in {self.folder / inner} ({reason})") from error


def _link(photo: Path, folder: Path) -> None:
    """Make a relative link to a photo under the first free name; none where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(photo, folder.resolve())
    name = Path(name_link(photo))
    for number in itertools.count(1):
        place = folder / (f"{name.stem}-{number}{name.suffix}" if number > 1 else name.name)
        try:
            place.symlink_to(target)
            return
        except FileExistsError:
            if place.is_symlink() and place.resolve() == photo:
                return
