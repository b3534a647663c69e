"""Name the landmarks of GLDv2, and number those of its two halves together.

The dataset describes a landmark by the address of a category of Wikimedia Commons. Works on
tables; reads and writes nothing.
"""

import logging
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


def category_name(address: str) -> str:
    """Return the name of a category of Wikimedia Commons by its address.

    Bytes that are no UTF-8 become U+FFFD.

    Example:
        >>> category_name("http://commons.wikimedia.org/wiki/Category:Caf%C3%A9_de_Flore")
        'Café de Flore'
    """
    title = unquote(address.partition("/wiki/")[2] or address)
    return " ".join(title.removeprefix("Category:").replace("_", " ").split())


def name_landmarks(
    categories: Iterable[pa.Table], landmark_ids: Iterable[NDArray[np.int64]]
) -> pa.Table:
    """Return landmark_id, name of all landmarks, sorted by landmark_id.

    Args:
        categories: tables of landmark_id, category. The first that names a landmark counts.
        landmark_ids: of the images. One that no table names is called "Landmark 123", so that
            every landmark has a name.
    """
    names: dict[int, str] = {}
    for table in categories:
        columns = (table["landmark_id"].to_pylist(), table["category"].to_pylist())
        for landmark_id, category in zip(*columns, strict=True):
            names[landmark_id] = names.get(landmark_id) or category_name(category)
    used = np.unique(np.concatenate([np.empty(0, np.int64), *landmark_ids])).tolist()
    unnamed = [landmark_id for landmark_id in {*used, *names} if not names.get(landmark_id)]
    if names and unnamed:
        logger.info(
            "%d landmarks have no category, the first is %d; they are called 'Landmark' and their "
            "number",
            *(len(unnamed), min(unnamed)),
        )
    names |= {landmark_id: f"Landmark {landmark_id}" for landmark_id in unnamed}
    ordered = sorted(names)
    return pa.table(
        {
            "landmark_id": pa.array(ordered, pa.int64()),
            "name": pa.array([names[landmark_id] for landmark_id in ordered], pa.string()),
        }
    )


def match_landmarks(
    train: Sequence[pa.Table],
    index: Sequence[pa.Table],
    index_ids: NDArray[np.int64],
    first: int,
) -> "pd.Series[int]":
    """Return the landmark_id of the dataset by that of the index.

    The numbers of GLDv2's index are not those of its training set: 7 is one landmark here and
    another there. A landmark of the index whose category has a number in the training set gets
    that one; the others follow after the training set's, in order.

    Args:
        train: tables of landmark_id, category; of two landmarks of one category the first counts.
        index: the same of the index; the first table that names a landmark counts.
        index_ids: landmark_ids of the index that may have no category.
        first: above all landmark_ids of the training set.
    """
    known = _by_name(train).sort_values("landmark_id").drop_duplicates("name")
    named = _by_name(index).drop_duplicates("landmark_id").set_index("landmark_id")["name"]
    every = np.union1d(index_ids, named.index.to_numpy(dtype=np.int64))
    matched = named.reindex(every).map(known.set_index("name")["landmark_id"])
    own = matched.isna().to_numpy()
    numbers = np.full(len(every), -1, dtype=np.int64)
    numbers[own] = first + np.arange(own.sum())
    numbers[~own] = matched[~own].to_numpy(dtype=np.int64)
    logger.info("%d of %d landmarks of the index are in the training set", sum(~own), len(own))
    return pd.Series(numbers, index=every)


def _by_name(categories: Sequence[pa.Table]) -> pd.DataFrame:
    """Return landmark_id, name of all tables, in their order, without those of no name."""
    ids = [np.asarray(table["landmark_id"], dtype=np.int64) for table in categories]
    names = [category_name(c) for table in categories for c in table["category"].to_pylist()]
    every = np.concatenate([np.empty(0, np.int64), *ids])
    table = pd.DataFrame({"landmark_id": every, "name": pd.Series(names, dtype=object)})
    return table[table["name"] != ""]
