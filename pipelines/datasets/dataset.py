"""Read a dataset folder: its tables, checked, and where the file of each image is.

Reads TABLES as .csv or .parquet, each once: what is read and hashed are the same bytes. Opens an
image of each table to check that there are any.
"""

import json
import logging
from functools import cached_property
from pathlib import Path

from classify_head.submission import Solution, load_solution
from embed.errors import InputError, MissingFileError
from embed.image_file import FileSlice, ImageFile
from embed.table_file import TableFile

from .dataset_problems import find_shared, judge_solution
from .image_folder import ImageFolder
from .image_problems import judge_images
from .image_table import ImageTable as ImageTable
from .image_table import Labels, judge_names, read_images, read_labels, refuse
from .renewal import finish_renewal
from .thumbnails import TABLE as THUMBNAILS
from .thumbnails import StoredThumbnail, Thumbnails

logger = logging.getLogger(__name__)

# Tables of a dataset folder, each <name>.csv or <name>.parquet. One of train and index must be
# there.
LABELLED = ("train", "index", "validation")
SPLITS = (*LABELLED, "test", "non_landmark")
TABLES = (*SPLITS, "solution", "labels")
PACKED_FROM = "packed from"  # how dataset.json of a run that was packed names its dataset
SIDE_TABLES = ("groups", "variants", "ground_truth", "index_landmarks", "hierarchy")


class Dataset:
    """A dataset folder. Tables are read, and checked, when first asked for, and then kept."""

    def __init__(self, folder: Path) -> None:
        """Take the folder. Raises MissingFileError if it has neither a train nor an index table."""
        self.folder = folder
        self._files: dict[str, TableFile] = {}  # that are not parsed yet
        self._hashes: dict[str, str] = {}
        self._splits: dict[str, tuple[ImageTable | None, list[str]]] = {}
        finish_renewal(folder)
        if not folder.is_dir():
            raise MissingFileError(
                f"no dataset folder at {folder}; make one with `cairn data`, or name yours: --data "
                "(of a run whose dataset was moved, too: it says where that is now)"
            )
        if self.find_table("train") is None and self.find_table("index") is None:
            raise MissingFileError(
                f"{folder} has no train.csv (columns id,landmark_id), and no index.csv; write one "
                "beside images/, or make it of a folder a class: cairn data folders FOLDER"
            )

    @property
    def name(self) -> str:
        """What the dataset is called: the folder; of a run that was packed, the one it was in."""
        try:
            origin = json.loads((self.folder / "dataset.json").read_text(encoding="utf-8"))
            return str(origin[PACKED_FROM])
        except (OSError, ValueError, LookupError, TypeError):
            return self.folder.resolve().name

    def find_table(self, name: str) -> Path | None:
        """Return the file of a table, or None."""
        for suffix in (".csv", ".parquet"):
            if (path := self.folder / f"{name}{suffix}").is_file():
                return path
        return None

    def require_table(self, name: str) -> Path:
        """Return the file of a table. Raises MissingFileError if there is none."""
        path = self.find_table(name)
        if path is None and name == "solution":
            raise MissingFileError(
                f"{self.folder} has no solution.csv (columns id,landmarks), so there is nothing to "
                "score against"
            )
        if path is None:
            raise MissingFileError(f"{self.folder} has no {name}.csv; this stage needs it")
        return path

    def hash_table(self, name: str) -> str:
        """Return the sha256 of a table's file. Raises MissingFileError if there is none."""
        if name not in self._hashes:
            self._hashes[name] = self._open(name).sha256
        return self._hashes[name]

    def _open(self, name: str) -> TableFile:
        if name not in self._files:
            self._files[name] = TableFile.open(self.require_table(name))
        return self._files[name]

    def _take(self, name: str) -> TableFile:
        """Return the file of a table for whoever parses it; its bytes are not kept here."""
        self.hash_table(name)
        file = self._open(name)
        del self._files[name]
        return file

    @property
    def database_split(self) -> str:
        """Name of the split that is searched: index where it exists, else train."""
        return "index" if self.find_table("index") else "train"

    @property
    def class_split(self) -> str:
        """Name of the split that says which classes there are: train where it exists, else index.

        A model that is not trained needs no train.csv.
        """
        return "train" if self.find_table("train") else "index"

    def load_split(self, name: str) -> ImageTable:
        """Read one of SPLITS.

        Raises:
            MissingFileError: the folder has no such table.
            InputError: no rows, missing columns, repeated or unusable ids, labels that are no
                integers, or train and database disagreeing with labels.csv.
        """
        table, problems = self._read(name)
        refuse(problems, str(self.folder))
        assert table is not None  # or something would have been wrong
        return table

    def _read(self, name: str) -> tuple[ImageTable | None, list[str]]:
        """Read one of SPLITS, and say what is wrong with it."""
        if name not in self._splits:
            table, problems = read_images(self._take(name), name in LABELLED)
            if name in LABELLED:
                labels, wrong = self._labels
                unnamed = judge_names(table, labels.names) if table else []
                problems = [*wrong, *problems, *unnamed]
            self._splits[name] = table, problems
        return self._splits[name]

    @cached_property
    def solution(self) -> Solution:
        """What the queries show; errors as load_solution, and MissingFileError without the file."""
        return load_solution(self._take("solution"))

    def check(self, *, training: bool = False) -> None:
        """Judge every table there is, and the files of its images, before anything long is begun.

        Images that have no file are logged: they go to the failures of what reads them.

        Args:
            training: whether a model is to be trained.

        Raises:
            InputError: find_problems found some; the message lists them all.
        """
        problems, warnings = self.find_problems(training=training)
        refuse(problems, str(self.folder))
        for warning in warnings:
            logger.warning("%s", warning)

    def check_tables(self) -> None:
        """As check, of the tables alone: their images need not be there."""
        refuse(self._read_all()[1], str(self.folder))

    def find_problems(self, *, training: bool = False) -> tuple[list[str], list[str]]:
        """Return all that has to be mended before a run, and which images will be left out.

        These are what is wrong with a table by itself (find_table_problems); a solution that does
        not go with the queries; images in two tables that may not share any; a table none of whose
        images has a file, or can be read; ids that are not those of their files; and no train.csv
        where a model is to be trained.
        """
        tables, problems = self._read_all()
        if training and self.find_table("train") is None:
            problems.insert(
                0,
                f"{self.folder} has no train.csv (columns id,landmark_id), and the recipe trains a "
                "model; write one, or use a model as it is: --set train.epochs=0",
            )
        warnings = []
        try:
            for name, table in tables.items():
                if name == "train" and not (training or self.database_split == "train"):
                    continue  # what a model learned from need not be there any more
                found = judge_images(self.images, table)
                problems += found.errors
                warnings += found.warnings
        except (InputError, FileNotFoundError) as error:  # there is no folder images/
            problems.append(str(error))
        return problems, warnings

    def find_table_problems(self) -> list[str]:
        """Return what load_split refuses of any table of images."""
        return self._read_splits()[1]

    def _read_all(self) -> tuple[dict[str, ImageTable], list[str]]:
        """As _read_splits, with what is wrong with two of them together, and the solution."""
        tables, problems = self._read_splits()
        if path := self.find_table("solution"):
            try:
                solution = self.solution
            except InputError as error:
                problems += str(error).splitlines()
            else:
                test = tables.get("test")
                problems += judge_solution(solution, path, test) if test else []
        return tables, [*problems, *find_shared(tables)]

    def _read_splits(self) -> tuple[dict[str, ImageTable], list[str]]:
        """Return the splits that can be read, by name, and what is wrong with any."""
        tables, problems = {}, list[str]()
        for name in SPLITS:
            if self.find_table(name):
                table, found = self._read(name)
                problems += found
                if table is not None:
                    tables[name] = table
        return tables, list(dict.fromkeys(problems))  # those of labels.csv come with each table

    @property
    def names(self) -> dict[int, str]:
        """The name of each landmark, from labels.csv; empty without that file."""
        return self.labels.names

    @property
    def labels(self) -> Labels:
        """What labels.csv says of the landmarks; of none without that file."""
        labels, problems = self._labels
        refuse(problems, str(self.folder))
        return labels

    @cached_property
    def _labels(self) -> tuple[Labels, list[str]]:
        if self.find_table("labels") is None:
            return Labels({}, {}), []
        return read_labels(self._take("labels"))

    @cached_property
    def images(self) -> ImageFolder:
        """Where the images are."""
        return ImageFolder(self.folder / "images")

    def locate(self, image_id: str) -> ImageFile:
        """Return where an image is: see ImageFolder.locate."""
        return self.images.locate(image_id)

    def find_photo(self, image_id: str) -> ImageFile | None:
        """Return what people are shown of an image: its file, else its thumbnail; None if neither.

        Raises ValueError as ImageFolder.locate.
        """
        try:
            file = self.locate(image_id)
        except FileNotFoundError:  # there is no folder images/
            file = None
        if isinstance(file, FileSlice) or (file is not None and file.is_file()):
            return file
        small = self.find_thumbnail(image_id)
        return None if small is None else small.file

    def find_thumbnail(self, image_id: str) -> StoredThumbnail | None:
        """Return the thumbnail of an image, or None."""
        return None if self._thumbnails is None else self._thumbnails.find(image_id)

    @cached_property
    def _thumbnails(self) -> Thumbnails | None:
        return Thumbnails(self.folder) if (self.folder / THUMBNAILS).is_file() else None
