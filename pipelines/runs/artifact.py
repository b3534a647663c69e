"""What all stages share: is the artifact there, make it part by part, sign it.

Reads and writes manifests, and of a split's artifact images.parquet and failures.parquet. Knows no
stage.
"""

import logging
import os
import shlex
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.allocator import give_back_memory
from embed.errors import InputError
from embed.failure import Failure, name_from
from embed.files import writing
from embed.meter import Meter
from embed.printable import printable
from embed.sealed import read_seal
from embed.shards import write_failures, write_images
from pipelines.artifacts import (
    FileRecord,
    Manifest,
    invalidate,
    load_manifest,
    make_key,
    name_discover,
    record_file,
    save_manifest,
)
from pipelines.progress import progress_meter
from rerank.delf.settings import LOCAL_FILE

from .integrity import MISSING, find_damages, make_error
from .job import Job
from .parts import IMAGES, MakeRows, PartMaker, Rows

if TYPE_CHECKING:
    # pandas takes half a second that a query has no need of
    from pipelines.datasets.dataset import ImageTable

logger = logging.getLogger(__name__)

# What a training leaves for people to read: no answer depends on it.
RECORDS = ("history.csv", "metrics.csv", "failures.parquet")

# What an interrupted command goes on from, in the folder of an artifact.
RESUMED = ("part-*.parquet", "checkpoint-*.pt", "precision.json", LOCAL_FILE)
FURTHER = "further.parquet"  # in the run folder, where decide.most_answers is above 1
SHEET = "answers.jpg"  # in the run folder: a picture of its submission


@dataclass(frozen=True)
class Artifact:
    """One artifact of a run: where it is, and all that decides its content."""

    job: Job
    stage: str
    folder: Path
    settings: Mapping[str, Any]  # the part of the recipe that the stage reads
    inputs: Mapping[str, str]  # name -> sha256, key or fingerprint
    table: str = ""  # the input that says which images, not what is made of each
    dear: bool = False  # it is not made again because a file of it is missing: training
    _started: float = field(default_factory=time.perf_counter)

    @cached_property
    def key(self) -> str:
        """Tells whether an artifact on disk is this one."""
        return make_key(self.stage, self.settings, self.inputs)

    def find(self) -> Manifest | None:
        """Return the manifest if the artifact is there.

        What is missing is made again, and so are damaged parts, which is logged. Nothing else is:
        training is dear, and a file may have been changed on purpose.

        Raises:
            InputError: the manifest or another file is damaged; where it is dear, or missing. Not
                one of RECORDS: a warning says so.
        """
        done = load_manifest(self.folder)
        if done is None or done.key != self.key:
            return None
        damages = find_damages(self.folder, done)
        in_parts = any(record.name.startswith("part-") for record in done.outputs)
        complete = True
        for record, finding in damages:
            path = self.folder / record.name
            if self.dear and record.name in RECORDS:
                logger.warning("%s: %s; the model does not need it", path, finding)
                continue
            if self.dear or not (in_parts or finding == MISSING):
                raise make_error(self.folder, record, finding)
            logger.warning("%s: %s; it is made again", path, finding)
            complete = False
        return done if complete else None

    def forget(self) -> None:
        """Take away the manifest, and what making it anew would go on from."""
        if self.folder.is_symlink():  # of an ensemble: the model is its first member's
            self.folder.unlink()
        invalidate(self.folder)
        for pattern in RESUMED:
            for path in self.folder.glob(pattern):
                path.unlink()

    def sign(
        self,
        outputs: Sequence[FileRecord],
        *,
        model: Mapping[str, Any] | None = None,
        counts: Mapping[str, int] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Write the manifest, which makes the outputs count."""
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            settings=self.settings,
            recipe=Path(self.job.recipe_name).stem,  # a path would differ between machines
            recipe_sha256=self.job.recipe.sha256,
            inputs=self.inputs,
            outputs=outputs,
            model=model or {},
            counts=counts or {},
            details=details or {},
            seconds=time.perf_counter() - self._started,
        )
        save_manifest(manifest, self.folder)
        give_back_memory()  # the next stage needs other sizes of blocks, or none
        return manifest

    @property
    def part_key(self) -> str:
        """Tells whether the rows of a part are those asked for: all of key but the table."""
        inputs = {name: value for name, value in self.inputs.items() if name != self.table}
        return make_key(self.stage, self.settings, inputs)

    def write_parts(
        self,
        table: "ImageTable",
        size: int,
        make_rows: MakeRows,
        *,
        model: Mapping[str, Any] | None = None,
        group_rows: int | None = None,
        list_places: Callable[[Sequence[Path]], Path] | None = None,
    ) -> Manifest:
        """Make the artifact of a table's images in parts of so many, and sign it.

        Rows of an interrupted run, or of another table, are kept: of each image that a part with
        this part_key holds.

        Args:
            table: of the images.
            size: images in a part.
            make_rows: of images that no part holds.
            model: for the manifest.
            group_rows: of parts that are not read whole, how many rows are read together.
            list_places: writes a file that says what is in which part, and returns its path.

        Raises:
            InputError: none of the images could be read.
        """
        invalidate(self.folder)
        folder = self.job.dataset.folder

        def make_movable(missing: Sequence[Sequence[int]], meter: Meter) -> Generator[Rows]:
            with closing(make_rows(missing, meter)) as made:
                for rows, failed in made:
                    yield rows, name_from(folder, failed)

        maker = PartMaker(self.folder, self.part_key, make_movable, group_rows)
        with progress_meter(f"{self.stage} {table.path.stem}", len(table.ids)) as meter:
            paths, failures = maker.make(table.ids, size, meter)
        requested, failed = len(table.ids), len(failures)
        if failed == requested:
            for path in paths:  # nothing is in them, and the same command shall look again
                path.unlink()
            raise InputError(
                f"none of the {requested} images of {table.path} could be read; "
                f"the first: {self._explain(failures[0], table)}"
            )
        outputs = [record_file(p, seal=read_seal(p) if group_rows else None) for p in paths]
        if list_places is not None:
            outputs.append(record_file(list_places(paths)))
        if group_rows is None:  # parts that are read whole, in the order of the table
            with writing(self.folder / IMAGES) as temporary:
                write_images(temporary, table.ids, table.landmark_ids)
            outputs.append(record_file(self.folder / IMAGES))
        record = self.folder / "failures.parquet"
        with writing(record) as temporary:
            write_failures(temporary, table.ids, failures)
        outputs.append(record_file(record))
        if failures:
            logger.warning(
                "%s %s: %d of %d images could not be read; %s says why, the first: %s; when they "
                "are mended: %s",
                *(self.stage, table.path.stem, failed, requested, record),
                *(self._explain(failures[0], table), self._name_again()),
            )
        counts = {"requested": requested, "written": requested - failed, "failed": failed}
        return self.sign(outputs, model=model, counts=counts)

    def _name_again(self) -> str:
        """Return the command that reads all images again."""
        run = shlex.quote(str(self.job.run))
        return name_discover(self.folder) or f"cairn embed --redo --run {run}"

    def _explain(self, failure: Failure, table: "ImageTable") -> str:
        """Return the message of a failure; of an image that is elsewhere also where."""
        dataset, found = self.job.dataset, ""
        if failure.reason == "missing":
            found = dataset.images.explain_missing(table.ids[failure.position])
        message = os.path.join(printable(str(dataset.folder)), failure.message)  # as it begins
        return f"{message}; {found}" if found else message
