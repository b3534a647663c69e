"""Count what a recipe's section [data] chooses of a dataset, by choosing it as a run does.

Reads the tables of the dataset. Writes those of the choice into a temporary folder.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.tables import read_tables
from pipelines.datasets.selection.select import select_dataset
from pipelines.runs.recipe_sections import DataSettings
from pipelines.stages.prepared_data import fit_split

from .workload import Counts, count_images


@dataclass(frozen=True)
class Chosen:
    """Images that a run works on."""

    training: int
    landmarks: int  # that are trained on
    validation: int  # held out by a table
    test: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """Return what is told of the counts."""
        sizes = counts.class_sizes
        return cls(int(sizes.sum()), len(sizes), counts.validation, counts.test)


def count_chosen(dataset: Dataset, settings: DataSettings, scratch: Path) -> Counts:
    """Count what a plan needs of the images that are chosen.

    Args:
        dataset: to choose from.
        settings: the section [data].
        scratch: a temporary folder is made in it.

    Raises:
        ValueError: a table cannot be read, or nothing is left for training or for a set that is
            asked for.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".choosing-") as temporary:
        folder = Path(temporary) / "data"
        select_dataset(
            dataset,
            folder,
            settings.make_filters(),
            fit_split(settings.make_split(), dataset),
            seed=settings.seed,
            unknown=settings.unknown,
        )
        return count_images(read_tables(Dataset(folder)))
