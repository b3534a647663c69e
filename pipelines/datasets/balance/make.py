"""Make datasets whose classes are of more equal size: the training sets of an ensemble.

Reads the train table of a dataset, and its images where their variants are written. Writes dataset
folders with the tables train, index, variants (id, landmark_id, image_id, variant, transforms) and,
where images could not be read, failures.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embed.balance import erus_sets, keep_large_classes
from embed.errors import InputError
from embed.failure import Failure
from embed.train_settings import BalanceSettings
from embed.upsampling import Examples
from embed.variants import ROUND, name_transforms
from pipelines.datasets.dataset import SPLITS, Dataset
from pipelines.datasets.derive import read_rows, write_derived
from pipelines.datasets.origin import claim

from .variant_files import VARIANT_MARK, link_entries, write_variants

logger = logging.getLogger(__name__)

PICTURES = "pictures"  # folder of the images where variants are written


@dataclass(frozen=True)
class BalancedSet:
    """One of the datasets that were written."""

    folder: Path
    images: int
    variants: int  # made of these images; in train only where they are files


@dataclass(frozen=True)
class BalanceResult:
    """What became of a training set."""

    sets: tuple[BalancedSet, ...]
    landmarks: int
    of_landmarks: int
    dropped: int  # images of landmarks with too few of them
    failures: tuple[Failure, ...]  # images that cannot be read: no variants, by row of train


def balance_dataset(
    source: Dataset,
    folder: Path,
    settings: BalanceSettings,
    *,
    sets: int = 1,
    seed: int = 0,
    materialise: bool = False,
) -> BalanceResult:
    """Write datasets with a balanced train table, which share the images of another.

    All of them are searched in the same database: the source's, or all of its training images. One
    set is written to the folder itself, several to set-1, set-2 and so on in it.

    Args:
        source: the dataset, which stays as it is.
        folder: to write.
        settings: which images a set has; the sets are those of numbers 0 to sets - 1.
        sets: how many.
        seed: of all choices.
        materialise: write the variants as image files and put them into train; else the variants
            table only lists them.

    Raises:
        InputError: the folder holds another dataset, or one of other settings.
        InputError: no landmark has min_count images, several sets would be the same, or the id of a
            variant is that of an image.
    """
    if sets > 1 and not settings.cap:
        raise InputError(f"{sets} sets without a cap would all be the same; set --cap")
    if source.find_table("variants"):
        raise InputError(
            f"{source.folder} is balanced already: variants of variants would be drawn; balance "
            "the dataset that it was made from"
        )
    path = source.load_split("train").path  # checked
    table = read_rows(path)
    labels = table["landmark_id"].to_numpy()
    drawn = _draw(labels, settings, sets, seed, path)
    made: dict[str, Any] = {"balanced from": str(source.folder.resolve()), "seed": seed}
    made |= settings.model_dump(exclude={"set_number"}) | {"sets": sets, "files": materialise}
    claim(folder, made)
    failures: list[Failure] = []
    if materialise:
        failures = _write_files(source, table, drawn[0], folder / PICTURES, seed)
    written = []
    for number, examples in enumerate(drawn, start=1):
        several = {"set": number} if sets > 1 else {}
        target = folder / f"set-{number}" if several else folder
        tables = _make_tables(source, table, examples, failures, materialise)
        pictures = folder / PICTURES if materialise else None
        write_derived(source, target, tables, made | several, images=pictures)
        written.append(_count(target, _leave_out(examples, failures)))
    large = keep_large_classes(labels, settings.min_count)
    return BalanceResult(
        tuple(written),
        len(np.unique(labels[large])),
        len(np.unique(labels)),
        len(labels) - len(large),
        tuple(failures),
    )


def _draw(
    labels: NDArray[np.int64], settings: BalanceSettings, sets: int, seed: int, path: Path
) -> tuple[Examples, ...]:
    """Return the sets. Raises InputError if nothing is in them."""
    drawn = erus_sets(
        labels,
        sets=sets,
        cap=settings.cap,
        upsample_to=settings.upsample_to,
        min_count=settings.min_count,
        seed=seed,
    )
    if not len(drawn[0]):
        raise InputError(
            f"no landmark of {path} has {settings.min_count} images, the largest has "
            f"{np.unique(labels, return_counts=True)[1].max()}; lower --min-count"
        )
    return drawn


def _write_files(
    source: Dataset, table: pa.Table, examples: Examples, pictures: Path, seed: int
) -> list[Failure]:
    """Write the variants; return the images, by row, that cannot be read."""
    if not source.find_table("validation"):
        logger.warning(
            "%s has no validation table: photos held out while training may be variants of those "
            "trained on; hold some out before: cairn data select",
            source.folder,
        )
    _check_new_ids(source, _list_variants(table, examples))
    link_entries(source.folder / "images", pictures)
    return write_variants(source, table["id"].to_pylist(), examples, pictures, seed)


def _list_variants(table: pa.Table, examples: Examples) -> pa.Table:
    """Return the table variants of the examples that are no originals."""
    chosen = examples.variants > 0
    originals = table.take(pa.array(examples.rows[chosen]))
    numbers = pa.array(examples.variants[chosen])
    names = pa.array(["+".join(name_transforms(variant)) for variant in range(ROUND)])
    text = pc.cast(numbers, pa.string())
    return pa.table(
        {
            "id": pc.binary_join_element_wise(originals["id"], text, VARIANT_MARK),
            "landmark_id": originals["landmark_id"],
            "image_id": originals["id"],
            "variant": numbers,
            "transforms": names.take(pa.array(examples.variants[chosen] % ROUND)),
        }
    )


def _check_new_ids(source: Dataset, variants: pa.Table) -> None:
    """Raise InputError if a variant would have the id of an image of the dataset."""
    for split in (name for name in SPLITS if source.find_table(name)):
        ids = pa.array(source.load_split(split).ids, pa.string())
        both = variants.filter(pc.is_in(variants["id"], value_set=ids))["id"]
        if len(both):
            raise InputError(
                f"'{both[0]}' of {split} would be the id of a variant, too; rename the image"
            )


def _leave_out(examples: Examples, failures: Sequence[Failure]) -> Examples:
    """Return the examples without variants of images that cannot be read."""
    failed = np.isin(examples.rows, [failure.position for failure in failures])
    kept = ~failed | (examples.variants == 0)
    return Examples(examples.rows[kept], examples.variants[kept])


def _make_tables(
    source: Dataset, table: pa.Table, examples: Examples, failures: Sequence[Failure], files: bool
) -> dict[str, pa.Table | None]:
    """Return the tables of a set that are not those of the source."""
    variants = _list_variants(table, _leave_out(examples, failures))
    train = table.take(pa.array(examples.rows[examples.variants == 0]))
    if files:
        # Other columns, such as the URL, are the original's alone.
        added = variants.select(["id", "landmark_id"])
        train = pa.concat_tables([train, added], promote_options="default")
    failed = {
        "id": table["id"].take(pa.array([one.position for one in failures], pa.int64())),
        "reason": pa.array([one.reason for one in failures], pa.string()),
        "message": pa.array([one.message for one in failures], pa.string()),
    }
    tables: dict[str, pa.Table | None] = {
        "train": train,
        "variants": variants if variants.num_rows else None,
        "failures": pa.table(failed) if failures else None,
    }
    if not source.find_table("index"):
        tables["index"] = table  # all stay in the database, variants do not enter it
    return tables


def _count(folder: Path, examples: Examples) -> BalancedSet:
    originals = int((examples.variants == 0).sum())
    return BalancedSet(folder, originals, len(examples) - originals)
