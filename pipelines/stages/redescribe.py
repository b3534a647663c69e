"""Describe photos that were added to a run anew, by the model and the settings that it has now.

Reads their copies in changes/, and writes one change in the place of all.
"""

from collections.abc import Iterator
from pathlib import Path

from embed.errors import InputError
from pipelines.answers.describer import load_describer
from pipelines.answers.live import Live, load_live
from pipelines.artifacts import Manifest, hash_file
from pipelines.progress import progress_meter
from pipelines.runs.job import Job

from .add import make_manifest
from .compact import replace_changes
from .describe_photos import describe_photos, write_described


def redescribe(job: Job) -> None:
    """Describe all photos that were added, for whoever holds the run.

    Raises:
        InputError: a copy is damaged, or cannot be described with these settings.
    """
    live = load_live(job.run)

    def write_parts(folder: Path) -> Manifest:
        describer = load_describer(job.run, job.recipe)
        files = list(_find_copies(job, live))
        manifest = make_manifest(job, describer, len(files), 0)
        with progress_meter("describe added photos", len(files)) as meter:
            for number, found in enumerate(describe_photos(describer, files, meter)):
                for failure in found.failures:
                    image_id = files[failure.position][0]
                    raise InputError(f"{failure.message}; {_advise(job, image_id)}")
                write_described(found, describer, folder, manifest.key, number)
        return manifest

    replace_changes(job, live, write_parts)


def _find_copies(job: Job, live: Live) -> Iterator[tuple[str, Path]]:
    for photos in live.added:
        hashes = photos.images["sha256"].to_pylist()
        for (image_id, path), sha256 in zip(photos.list_files(), hashes, strict=True):
            if path is None:
                raise InputError(
                    f"{job.run} was packed without the photo {image_id}, which would have to be "
                    f"described anew: remove it, and add it again: cairn remove --run {job.run} "
                    f"--image {image_id}"
                )
            if not path.is_file() or hash_file(path) != sha256:
                state = "damaged" if path.is_file() else "missing"
                raise InputError(f"{path} is {state}; {_advise(job, image_id)}")
            yield image_id, path


def _advise(job: Job, image_id: str) -> str:
    return f"put a copy in its place, or remove it: cairn remove --run {job.run} --image {image_id}"
