"""Draw images in an order that depends on the seed and on each image's id, on nothing else.

A generator's stream would tie every image to the rows before it, and to the version of its
library. Keys of the ids don't: new images, other classes, another order of rows change no key.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from embed.errors import InputError

CHUNK = 65_536  # ids that are Python strings at one time; five million would take 365 MB
LARGEST_SEED = 10**16 - 1  # SipHash has a key of 16 bytes


def order_keys(ids: pa.ChunkedArray, seed: int) -> NDArray[np.uint64]:
    """Return SipHash-2-4 of each id, keyed by the seed: of any images, the smallest come first.

    Args:
        ids: [N] text.
        seed: 0 to LARGEST_SEED.

    Returns:
        [N] keys, uniform over all 64 bits. Two of five million ids share one with a probability
        of one in a million; their rows then say which comes first.

    Raises:
        InputError: the seed is out of range.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed is {seed}, must be 0 to {LARGEST_SEED}")
    keys = [
        pd.util.hash_array(
            batch.to_numpy(zero_copy_only=False), hash_key=f"{seed:016d}", categorize=False
        )
        for chunk in ids.chunks
        for batch in (chunk.slice(start, CHUNK) for start in range(0, len(chunk), CHUNK))
    ]
    return np.concatenate(keys) if keys else np.empty(0, dtype=np.uint64)


def rank_within(codes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the place of each image in its class by key, from 0.

    Args:
        codes: [N] class of each image.
        keys: [N] of order_keys.
    """
    order = np.lexsort((keys, codes))
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = count_within(codes[order])
    return ranks


def count_within(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many rows before each one have its code; rows of a code stand together.

    >>> count_within(np.array([4, 4, 4, 7, 9, 9])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    places = np.arange(len(codes))
    starts = np.diff(codes, prepend=codes[:1] - 1) != 0
    return places - np.maximum.accumulate(np.where(starts, places, 0))
