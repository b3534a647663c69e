"""Groups of images that are duplicates of one another, for whoever divides a dataset.

Writes groups.parquet of a dataset folder: id, group, sorted. An image in no group has no row.
`selection` reads it.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from embed.files import writing

from .catalogue import Catalogue
from .duplicates import Duplicates

NAME = "groups.parquet"
NO_GROUP = -1


def number_groups(catalogue: Catalogue, duplicates: Duplicates) -> NDArray[np.int64]:
    """Return the group of each image, [N]; -1 for one without a duplicate.

    Duplicates of duplicates are in the same group, so that none of them is ever divided. Groups
    are numbered in the order of their smallest ids.
    """
    count = len(catalogue.ids)
    ones = np.ones(len(duplicates.first), dtype=bool)
    graph = coo_array((ones, (duplicates.first, duplicates.later)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    members = np.flatnonzero(np.bincount(labels)[labels] > 1)
    members = members[np.argsort(catalogue.ids[members])]
    groups = np.full(count, NO_GROUP, dtype=np.int64)
    groups[members] = pd.factorize(labels[members])[0]
    return groups


def write_groups(ids: NDArray[np.object_], groups: NDArray[np.int64], folder: Path) -> None:
    """Write the groups of images that are in one with another, sorted by group and id.

    Args:
        ids: [n] of str.
        groups: [n], -1 for an image in none.
        folder: the dataset folder.
    """
    sizes = pd.Series(groups).map(pd.Series(groups).value_counts()).to_numpy()
    rows = np.flatnonzero((groups != NO_GROUP) & (sizes > 1))
    rows = rows[np.lexsort((ids[rows], groups[rows]))]
    table = pa.table({"id": pa.array(ids[rows], pa.string()), "group": pa.array(groups[rows])})
    with writing(folder / NAME) as temporary:
        pq.write_table(table, temporary)
