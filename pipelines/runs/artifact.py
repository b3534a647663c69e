"""What all stages share: is the artifact there, make it part by part, sign it.

Reads and writes manifests, and the parts of a split's artifact. Knows no stage.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.allocator import give_back_memory
from embed.errors import InputError
from embed.failure import Failure
from embed.files import writing
from embed.sealed import read_seal
from embed.shards import read_shard_failures, write_failures
from pipelines.artifacts import (
    FileRecord,
    Manifest,
    invalidate,
    load_manifest,
    make_key,
    record_file,
    save_manifest,
)
from pipelines.progress import Advance, progress_bar
from rerank.delf.settings import LOCAL_FILE

from .integrity import MISSING, find_damages, make_error
from .job import Job

if TYPE_CHECKING:
    # pandas takes half a second that a query has no need of
    from pipelines.datasets.dataset import ImageTable

logger = logging.getLogger(__name__)

# What a training leaves for people to read: no answer depends on it.
RECORDS = ("history.csv", "metrics.csv", "failures.parquet")

# What an interrupted command goes on from, in the folder of an artifact.
RESUMED = ("part-*.parquet", "checkpoint-*.pt", "precision.json", LOCAL_FILE)
HEAD_FILE = "head.safetensors"  # in model/
SHEET = "answers.jpg"  # in the run folder: a picture of its submission

# Writes the part of some rows of a table, moves a bar, and returns the images that failed.
WritePart = Callable[[range, Path, Advance], list[Failure]]


@dataclass(frozen=True)
class Artifact:
    """One artifact of a run: where it is, and all that decides its content."""

    job: Job
    stage: str
    folder: Path
    settings: Mapping[str, Any]  # the part of the recipe that the stage reads
    inputs: Mapping[str, str]  # name -> sha256, key or fingerprint
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
    ) -> Manifest:
        """Write the manifest, which makes the outputs count."""
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            settings=self.settings,
            recipe=self.job.recipe_name,
            recipe_sha256=self.job.recipe.sha256,
            inputs=self.inputs,
            outputs=outputs,
            model=model or {},
            counts=counts or {},
            seconds=time.perf_counter() - self._started,
        )
        save_manifest(manifest, self.folder)
        give_back_memory()  # the next stage needs other sizes of blocks, or none
        return manifest

    def write_parts(
        self,
        table: "ImageTable",
        size: int,
        write_part: WritePart,
        *,
        model: Mapping[str, Any] | None = None,
        in_pieces: bool = False,
    ) -> Manifest:
        """Make the artifact of a table's images in parts of so many, and sign it.

        Parts of an interrupted run are kept: each carries the key and its failures.

        Args:
            table: of the images.
            size: images in a part.
            write_part: writes one with embed.sealed.
            model: for the manifest.
            in_pieces: parts are not read whole, so their seals are recorded.

        Raises:
            InputError: none of the images could be read.
        """
        invalidate(self.folder)
        paths, failures = self._fill_parts(table, size, write_part)
        requested, failed = len(table.ids), len(failures)
        if failed == requested:
            for path in paths:  # nothing is in them, and the same command shall look again
                path.unlink()
            raise InputError(
                f"none of the {requested} images of {table.path} could be read; "
                f"the first: {self._explain(failures[0], table)}"
            )
        record = self.folder / "failures.parquet"
        with writing(record) as temporary:
            write_failures(temporary, table.ids, failures)
        if failures:
            logger.warning(
                "%s %s: %d of %d images could not be read; %s says why, the first: %s; when they "
                "are mended: cairn embed --redo --run %s",
                *(self.stage, table.path.stem, failed, requested, record),
                *(self._explain(failures[0], table), self.job.run),
            )
        counts = {"requested": requested, "written": requested - failed, "failed": failed}
        outputs = [record_file(path, seal=read_seal(path) if in_pieces else None) for path in paths]
        outputs.append(record_file(record))
        return self.sign(outputs, model=model, counts=counts)

    def _explain(self, failure: Failure, table: "ImageTable") -> str:
        """Return the message of a failure; of an image that is elsewhere also where."""
        found = ""
        if failure.reason == "missing":
            found = self.job.dataset.images.explain_missing(table.ids[failure.position])
        return f"{failure.message}; {found}" if found else failure.message

    def _fill_parts(
        self, table: "ImageTable", size: int, write_part: WritePart
    ) -> tuple[list[Path], list[Failure]]:
        """Write the parts that are not there yet; return all files and all failures."""
        starts = range(0, len(table.ids), size)
        paths = [self.folder / f"part-{number:05d}.parquet" for number in range(len(starts))]
        for stray in set(self.folder.glob("part-*.parquet")) - set(paths):
            stray.unlink()
        failures: list[Failure] = []
        with progress_bar(f"{self.stage} {table.path.stem}", len(table.ids)) as advance:
            for start, path in zip(starts, paths, strict=True):
                rows = range(start, min(start + size, len(table.ids)))
                known = read_shard_failures(path, self.key)
                if known is None:
                    known = write_part(rows, path, advance)
                else:
                    advance(len(rows))
                failures += known
        return paths, failures
