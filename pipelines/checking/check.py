"""Check a dataset: read its images, find what is wrong with them, list it.

Writes into the dataset folder scan/, groups.parquet, problems.csv and problems.html.
"""

from ..dataset import Dataset
from ..decorations import draw
from .catalogue import open_catalogue
from .groups import number_groups, write_groups
from .problems import MIN_SIDE, Findings, Problems, list_problems, write_problems
from .problems_page import PAGE, write_page
from .scan import scan_dataset
from .twins import find_twins


def check_dataset(dataset: Dataset, *, min_side: int = MIN_SIDE) -> tuple[Findings, Problems]:
    """Find what is wrong with the images of a dataset and write it down in its folder.

    Only images that are new or have changed are read. The same dataset gives the same groups and
    problems, however its tables are sorted.

    Args:
        dataset: the dataset; its tables and images stay as they are.
        min_side: pixels; an image whose shorter side has fewer is tiny.

    Returns:
        What was found, and the list of what is wrong.

    Raises:
        FileNotFoundError: the folder of images is missing.
        ValueError: a table is not what load_split takes.
    """
    catalogue = open_catalogue(dataset, scan_dataset(dataset))
    twins = find_twins(catalogue, dataset.folder)
    findings = Findings(catalogue, twins, number_groups(catalogue, twins), min_side)
    problems = list_problems(findings)
    write_groups(catalogue.ids, findings.groups, dataset.folder)
    write_problems(problems, catalogue, dataset.folder / "problems.csv")
    page = dataset.folder / PAGE
    draw(page, lambda: write_page(dataset, findings, problems, page))
    return findings, problems
