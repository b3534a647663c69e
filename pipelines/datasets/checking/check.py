"""Check a dataset: read its images, find what is wrong with them, list it.

Writes into the dataset folder, or another one, scan/, groups.parquet and problems.csv.
"""

from pathlib import Path

from pipelines.datasets.dataset import Dataset
from pipelines.datasets.image_table import refuse

from .catalogue import open_catalogue
from .duplicates import find_duplicates
from .groups import number_groups, write_groups
from .problems import MIN_SIDE, Findings, Problems, list_problems, write_problems
from .scan import scan_dataset


def check_dataset(
    dataset: Dataset, folder: Path | None = None, *, min_side: int = MIN_SIDE
) -> tuple[Findings, Problems]:
    """Find what is wrong with the images of a dataset and write it down.

    Only images that are new or have changed are read. The same dataset gives the same groups and
    problems, however its tables are sorted.

    Args:
        dataset: the dataset; its tables and images stay as they are.
        folder: what is written goes there; None: into the dataset's own folder.
        min_side: pixels; an image whose shorter side has fewer is tiny.

    Returns:
        What was found, and the list of what is wrong.

    Raises:
        MissingFileError: the folder of images is missing.
        InputError: a table is not what load_split takes; the message lists all that is wrong.
    """
    folder = folder or dataset.folder
    refuse(dataset.find_table_problems(), str(dataset.folder))
    catalogue = open_catalogue(dataset, scan_dataset(dataset, folder))
    duplicates = find_duplicates(catalogue, folder)
    findings = Findings(catalogue, duplicates, number_groups(catalogue, duplicates), min_side)
    problems = list_problems(findings)
    write_groups(catalogue.ids, findings.groups, folder)
    write_problems(problems, catalogue, folder / "problems.csv")
    return findings, problems
