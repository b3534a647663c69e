"""Say which tables list each image of a scan, and put the images to be preferred first.

Reads the tables of a dataset. Opens no image.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.datasets.dataset import LABELLED, SPLITS, Dataset

QUERIES = ("test", "validation")  # their images are kept before all others, those of test always
DATABASE = ("train", "index")
CLEANED = ("validation", *DATABASE, "non_landmark")  # tables that images may be taken from
NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The N images of a dataset, those to be preferred among duplicates first.

    Images of test come before those of validation, those with a landmark, and the others; within
    these the larger before the smaller, and then they are sorted by id. So an image stays where it
    is when rows of a table change places.
    """

    scan: pa.Table  # [N] rows of load_scan
    entries: pd.DataFrame  # a line of a table a row: row (of the scan), table, landmark_id or -1

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """[N] of str."""
        return np.asarray(self.scan["id"].to_pylist(), dtype=object)

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """[N], whether the image could be decoded."""
        return np.asarray(self.scan["reason"].is_null())

    @cached_property
    def landmark_ids(self) -> NDArray[np.int64]:
        """[N], of the first table that gives the image one; -1 where none does."""
        labels = np.full(len(self.ids), NO_LABEL, dtype=np.int64)
        first = self.entries[self.entries["table"].isin(LABELLED)].drop_duplicates("row")
        labels[first["row"]] = first["landmark_id"]
        return labels

    def in_tables(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which images are listed by any of these tables, [N]."""
        found = np.zeros(len(self.ids), dtype=bool)
        found[self.entries["row"][self.entries["table"].isin(list(names))]] = True
        return found

    def name_tables(self, rows: NDArray[np.integer]) -> list[str]:
        """Return the tables of some images: "train+index"."""
        listed = np.stack([self.in_tables([name])[rows] for name in SPLITS], axis=1)
        kinds, kind = np.unique(listed, axis=0, return_inverse=True)
        names = ["+".join(np.array(SPLITS)[chosen]) for chosen in kinds]
        return [names[number] for number in kind]


def open_catalogue(dataset: Dataset, scan: pa.Table) -> Catalogue:
    """Put a scan beside the tables of its dataset.

    Args:
        dataset: its tables name the images.
        scan: what load_scan returned, of all images that the tables name.
    """
    ids = scan["id"].combine_chunks()
    entries = []
    for name in SPLITS:
        if dataset.find_table(name):
            table = dataset.load_split(name)
            rows = pc.index_in(pa.array(table.ids, pa.string()), value_set=ids)
            columns = {"row": np.asarray(rows), "table": name, "landmark_id": table.landmark_ids}
            entries.append(pd.DataFrame(columns))
    listed = pd.concat(entries, ignore_index=True)
    order = _prefer(scan, listed)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Catalogue(scan.take(pa.array(order)), listed.assign(row=place[listed["row"]]))


def _prefer(scan: pa.Table, entries: pd.DataFrame) -> NDArray[np.intp]:
    """Return the rows of a scan sorted by id, those to be preferred first."""
    classes = {name: 2 for name in SPLITS} | {"test": 0, "validation": 1, "non_landmark": 3}
    best = entries["table"].map(classes).groupby(entries["row"]).min()
    role = best.reindex(range(scan.num_rows)).to_numpy()
    sizes = (
        np.asarray(pc.fill_null(scan[name], 0)).astype(np.int64) for name in ("width", "height")
    )
    width, height = sizes
    return np.lexsort((-width * height, role))  # stable: of equal ones, the smaller id
