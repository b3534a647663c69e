"""Add photos to the database of a run, in one change that is seen whole or not at all.

Reads the photos, model/ and index/ of a run. Writes one change of its journal: descriptions, local
features, names and copies of the photos. Nothing is trained, and index/ stays as it is.
"""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embed.decode_result import ImageError
from embed.failure import Failure, name_from
from embed.files import writing
from embed.image_file import ImageFile, limit_bytes, read_image_file
from embed.printable import encodable
from embed.shards import Embeddings, write_failures
from pipelines.answers.database import Database, load_database
from pipelines.answers.describer import RunDescriber, load_describer
from pipelines.answers.description import (
    description_inputs,
    description_key,
    description_settings,
)
from pipelines.answers.live import Live, find_file, load_live
from pipelines.answers.open_run import check_recipe
from pipelines.answers.photo import Photo
from pipelines.artifacts import Manifest, hash_file, make_key, record_file
from pipelines.datasets.naming import name_photo
from pipelines.datasets.thumbnails import StoredThumbnail
from pipelines.progress import progress_meter
from pipelines.runs.changes import (
    FAILURES,
    IMAGES,
    PHOTOS,
    STAGE,
    Change,
    sign_change,
    writing_change,
    writing_journal,
)
from pipelines.runs.job import Job
from pipelines.runs.names import load_names
from pipelines.sources.new_photos import NewPhoto

from .describe_photos import describe_photos, refuse_unread, write_described
from .labelling import Landmark, find_landmarks

ALIKE = 0.99  # cosine, from which a photo of the index is compared byte by byte
SUFFIX = ".photo"  # of a copy whose file has none
NEAREST = 5  # photos of the index that are looked at for that


@dataclass(frozen=True)
class Known:
    """A photo that the database has already."""

    path: Path
    image_id: str  # as which it has it
    landmark: Landmark  # of which it has it
    asked: Landmark  # of which it was to be added


@dataclass
class Addition:
    """What became of the photos that were to be added."""

    change: Change | None = None  # None where nothing was added
    added: dict[Landmark, list[str]] = field(default_factory=dict)  # ids
    known: list[Known] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)  # of photos that could not be read


@dataclass(frozen=True)
class _Named:
    """A photo that is to be added, and what it is called."""

    image_id: str
    path: Path
    landmark: Landmark
    title: str  # by which errors call it; empty: its path


def add_photos(job: Job, photos: Sequence[NewPhoto], advice: str = "--name NAME") -> Addition:
    """Add photos to the database of a run.

    What the database has already, by its id or the same bytes, is not added again.

    Args:
        job: of the run.
        photos: to be added.
        advice: how a new landmark is named.

    Raises:
        MissingFileError: the run is not indexed.
        RequestError: a number or name goes with no landmark, or none of the photos can be read.
        InputError: the run describes photos otherwise than its index, or a file of it is damaged.
    """
    with writing_journal(job.run):
        live = load_live(job.run)
        # A number that was removed stays taken: the head of the model may still know it.
        labels = {*live.indexed.landmarks.tolist(), *live.table.landmarks.tolist()}
        said = [photo.said for photo in photos]
        landmarks = find_landmarks(said, labels, live.names, advice)
        sieve, result = _Sieve(job, live), Addition()
        named = []
        for photo in photos:
            image_id, new = sieve.name(photo, landmarks[photo.said])
            if new:
                named.append(_Named(image_id, photo.path, landmarks[photo.said], photo.title))
            else:
                result.known.append(sieve.tell(photo.path, image_id, landmarks[photo.said]))
        if named:
            _add(job, named, sieve, result)
    return result


def _add(job: Job, photos: list[_Named], sieve: "_Sieve", result: Addition) -> None:
    """Describe photos and write the change."""
    describer = load_describer(job.run, job.recipe)
    database = load_database(job.run, describer.fingerprint, {}, changes=False)
    check_recipe(job.run, database.split, job.recipe)
    key = description_key(job.run, job.recipe, describer.fingerprint)
    files = [(photo.image_id, Photo.of(photo.path, photo.title)) for photo in photos]
    added = list[_Named]()
    with (
        writing_change(job.run) as folder,
        progress_meter("add", len(photos)) as meter,
    ):
        (folder / PHOTOS).mkdir()
        for number, found in enumerate(describe_photos(describer, files, meter)):
            result.failures += found.failures
            kept = []
            for place, position in enumerate(found.positions):
                photo = photos[position]
                if same := sieve.find_same(photo.path, found.embeddings[place], database):
                    result.known.append(sieve.tell(photo.path, same, photo.landmark))
                else:
                    kept.append(place)
                    added.append(photo)
            if kept:
                write_described(found.take(kept), describer, folder, key, number)
        refuse_unread(result.failures, len(photos))
        if not added:
            return
        _write_photos(added, folder)
        _write_failures(photos, result.failures, folder)
        manifest = make_manifest(job, describer, len(added), len(result.failures))
        names = {
            photo.landmark.label: photo.landmark.name
            for photo in added
            if photo.landmark.name is not None
        }
        known = load_names(job.run)  # of the dataset, whose numbers may be others one day
        brought = {n: name for n, name in names.items() if known.get(n) != name}
        result.change = sign_change(folder, manifest, names=brought)
    for photo in added:
        result.added.setdefault(photo.landmark, []).append(photo.image_id)


def make_manifest(job: Job, describer: RunDescriber, written: int, failed: int) -> Manifest:
    """Return the manifest of a change that adds photos, as sign_change takes it."""
    settings = description_settings(job.run, job.recipe)
    inputs = description_inputs(job.run, job.recipe, describer.fingerprint)
    engines = [member.engine.name for member in describer.members]
    return Manifest(
        stage=STAGE,
        key=make_key(STAGE, settings, inputs),
        settings=settings,
        recipe=Path(job.recipe_name).stem,
        recipe_sha256=job.recipe.sha256,
        inputs=inputs,
        outputs=[],
        model={"fingerprint": describer.fingerprint, "described_by": engines},
        counts={"requested": written + failed, "written": written, "failed": failed},
    )


def _write_photos(photos: Sequence[_Named], folder: Path) -> None:
    """Copy photos into a change, and list them."""
    rows = []
    for photo in photos:
        # Never without a suffix: a.jpg of id a is another file than that of id a.jpg.
        suffix = photo.path.suffix.lower() or SUFFIX
        place = folder / PHOTOS / f"{photo.image_id}{suffix}"
        with writing(place, place.with_name(f".{place.name}")) as temporary:
            shutil.copyfile(photo.path, temporary)
        rows.append((photo.image_id, photo.landmark.label, record_file(place)))
    columns = {
        "image_id": pa.array([image_id for image_id, _, _ in rows], pa.string()),
        "landmark_id": pa.array([label for _, label, _ in rows], pa.int64()),
        "file": pa.array([record.name for _, _, record in rows], pa.string()),
        "bytes": pa.array([record.bytes for _, _, record in rows], pa.int64()),
        "sha256": pa.array([record.sha256 for _, _, record in rows], pa.string()),
    }
    with writing(folder / IMAGES) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _write_failures(photos: Sequence[_Named], failures: Sequence[Failure], folder: Path) -> None:
    if failures:
        failures = [replace(each, message=encodable(each.message)) for each in failures]
        named = [
            each for one in failures for each in name_from(photos[one.position].path.parent, [one])
        ]
        with writing(folder / FAILURES) as temporary:
            write_failures(temporary, [photo.image_id for photo in photos], named)


@dataclass(frozen=True, eq=False)
class _Sieve:
    """Tells which photos the database has already, and names the others."""

    job: Job
    live: Live
    _ids: dict[str, Landmark] = field(default_factory=dict)  # that were given to new photos

    def __contains__(self, image_id: object) -> bool:
        """Tell whether an id is taken."""
        return image_id in self._ids or self.live.table.row_of(str(image_id)) >= 0

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """The ids of added photos by their sha256."""
        columns = ("sha256", "image_id")
        lists = ([photos.images[c].to_pylist() for c in columns] for photos in self.live.added)
        return {sha: image_id for both in lists for sha, image_id in zip(*both, strict=True)}

    def tell(self, path: Path, image_id: str, asked: Landmark) -> Known:
        """Say which landmark a photo is of that the database has, and was to be added to."""
        if (landmark := self._ids.get(image_id)) is None:
            table = self.live.table
            label = int(table.landmark_ids[table.row_of(image_id)])
            landmark = Landmark(label, self.live.names.get(label), False)
        return Known(path, image_id, landmark, asked)

    def name(self, photo: NewPhoto, landmark: Landmark) -> tuple[str, bool]:
        """Return an id for a photo, or that which the database has it by; and whether it is new."""
        path = photo.path.absolute()
        sha256 = ""
        with contextlib.suppress(OSError):  # whoever describes it says what is wrong
            sha256 = hash_file(path) if path.is_file() else ""
        if same := self._hashes.get(sha256):
            return same, False
        image_id = photo.image_id or name_photo(path)
        if photo.image_id is None and image_id in self._ids:
            image_id = name_photo(path, self)
        elif image_id in self:
            if photo.image_id is not None or self._is_same(path, image_id, missing=True):
                return image_id, False
            image_id = name_photo(path, self)
        self._ids[image_id] = landmark
        if sha256:
            self._hashes[sha256] = image_id
        return image_id, True

    def find_same(self, path: Path, found: Embeddings, database: Database) -> str | None:
        """Return which photo of the index has the same bytes, by what the photo is described as."""
        vectors = found.all_vectors
        if database.whitening is not None:
            vectors = database.whitening.apply_all(vectors)
        near = database.images.search(vectors, NEAREST)
        rows = near.rows[0, near.scores[0] >= ALIKE]
        ids = [database.rows.image_id(row) for row in rows[~self.live.removed[rows]].tolist()]
        return next((image_id for image_id in ids if self._is_same(path, image_id)), None)

    def _is_same(self, path: Path, image_id: str, *, missing: bool = False) -> bool:
        """Tell whether a file and a photo of the database are the same bytes.

        Args:
            path: of the file.
            image_id: of the photo.
            missing: the answer where either is not there any more.
        """
        try:
            place = find_file(self.live.added, image_id) or self.job.dataset.locate(image_id)
            return self._read(path) == self._read(place)
        except (ImageError, FileNotFoundError):
            small = self._find_thumbnail(image_id)
            return (
                missing if small is None or not path.is_file() else hash_file(path) == small.sha256
            )

    def _find_thumbnail(self, image_id: str) -> StoredThumbnail | None:
        """Return what a dataset without photos knows of one."""
        return self.job.dataset.find_thumbnail(image_id) if self.job.data.is_dir() else None

    def _read(self, place: ImageFile) -> bytes:
        return read_image_file(place, limit_bytes(self.job.max_pixels))
