"""Find pairs of 64-bit hashes that differ in few bits. Knows no images; reads and writes no files.

The bits are dealt out to three chunks. Hashes that differ in 10 bits differ in at most 2 bits of
the first chunk or at most 3 of another, so that each chunk of each hash is looked up with all
changes of so few bits: exact, and far less than to compare all with all. A million hashes take half
a minute on 2 cores and 0.4 GB; IndexBinaryMultiHash of faiss 1.15 does the same in half an hour.

Source: M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
CVPR 2012.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from embed.parallel import run_parallel

BITS, CHUNKS = 64, 3
# Hashes that share all bits of a chunk. Of 4 million random ones it is 2; past this many, only the
# first are compared, so that the time grows with the number of hashes alone.
MAX_BUCKET = 64
MAX_PARTNERS = 32  # pairs in which a hash is the later one; with so many it is looked up no more
FEW = 1024  # hashes that are compared all with all, which is faster for so few
BATCH = 64  # changes looked up before the pairs are sorted out; bounds the memory

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class HashPairs:
    """P pairs of rows, each once."""

    first: NDArray[np.int32]  # [P]
    later: NDArray[np.int32]  # [P], greater than first
    distance: NDArray[np.uint8]  # [P], bits

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.first)


def find_close(hashes: Hashes, max_distance: int) -> HashPairs:
    """Return all pairs of hashes that differ in at most so many bits, sorted by (later, first).

    All, as long as no 65 hashes share a chunk and none has 32 partners that come before it. In
    denser crowds, such as thousands of frames of one camera, a hash is paired with some of those
    that come first.

    Args:
        hashes: [N] uint64, those to be preferred first.
        max_distance: 0 to 11 bits.

    Raises:
        ValueError: max_distance is out of range.
    """
    if not 0 <= max_distance <= 11:
        raise ValueError(f"max_distance is {max_distance} bits; 0 to 11 can be looked up")
    few = len(hashes) <= FEW
    pairs = _compare_all(hashes, max_distance) if few else _look_up(hashes, max_distance)
    return _take(pairs, np.lexsort((pairs.first, pairs.later)))


def _compare_all(hashes: Hashes, max_distance: int) -> HashPairs:
    distance = np.bitwise_count(hashes[:, None] ^ hashes)
    later, first = np.nonzero(np.tril(distance <= max_distance, -1))
    ends = first.astype(np.int32), later.astype(np.int32)
    return _keep_closest(HashPairs(*ends, distance[later, first]))


def _look_up(hashes: Hashes, max_distance: int) -> HashPairs:
    pairs = _join([])
    for chunk in range(CHUNKS):
        # Bits that differ by at most this in each chunk: 2, 3, 3 of 10, for 3 + 4 + 4 are 11.
        most = (max_distance - CHUNKS + 1 + chunk) // CHUNKS
        buckets = _Buckets.of(hashes, chunk, _find_looked_up(pairs, len(hashes)))
        for changes in _list_batches(buckets.bits, most):
            compare = partial(buckets.compare, max_distance=max_distance)
            found = run_parallel(compare, changes)
            if any(map(len, found)):
                pairs = _keep_closest(_join([pairs, *found]))
                rows = _find_looked_up(pairs, len(hashes))
                if len(rows) < len(buckets.rows):
                    buckets = _Buckets.of(hashes, chunk, rows)
    return pairs


def _list_batches(bits: int, most: int) -> list[list[int]]:
    """Return all numbers of so many bits of which at most `most` are ones, 0 alone in its batch."""
    changes = [
        sum(1 << place for place in places)
        for count in range(1, most + 1)
        for places in combinations(range(bits), count)
    ]
    batches = [changes[start : start + BATCH] for start in range(0, len(changes), BATCH)]
    return [[0], *batches] if most >= 0 else []


def _find_looked_up(pairs: HashPairs, count: int) -> NDArray[np.int32]:
    """Return the rows that have not enough partners yet."""
    partners = np.bincount(pairs.later, minlength=count)
    return np.flatnonzero(partners < MAX_PARTNERS).astype(np.int32)


@dataclass(frozen=True, eq=False)
class _Buckets:
    """Some of the hashes, sorted by one of their chunks."""

    bits: int  # of the chunk
    rows: NDArray[np.int32]  # [n]; in a bucket, those that come first are first
    hashes: Hashes  # [n] of these rows
    chunks: NDArray[np.int32]  # [n] of these rows
    starts: NDArray[np.int32]  # [2^bits + 1], where in the rows the bucket of a chunk begins

    @classmethod
    def of(cls, hashes: Hashes, number: int, rows: NDArray[np.int32]) -> "_Buckets":
        # Neighbouring bits are of neighbouring frequencies and go together: dealt out in turn,
        # they fill the buckets of photos a third more evenly than cut in three.
        places = np.arange(number, BITS, CHUNKS)
        values = np.zeros(len(rows), dtype=np.int32)
        for target, place in enumerate(places):
            bit = (hashes[rows] >> np.uint64(place)) & np.uint64(1)
            values |= bit.astype(np.int32) << target
        order = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=1 << len(places))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return cls(len(places), rows[order], hashes[rows[order]], values[order], starts)

    def compare(self, change: int, *, max_distance: int) -> HashPairs:
        """Return the close pairs of hashes whose chunks differ by one change."""
        if change:  # of two buckets that differ by it, the one without its highest bit
            places = np.flatnonzero((self.chunks & (1 << (change.bit_length() - 1))) == 0)
            other = self.chunks[places] ^ change
            begin = self.starts[other]
            count = np.minimum(self.starts[other + 1] - begin, MAX_BUCKET)
        else:
            places = np.arange(len(self.rows))
            begin = self.starts[self.chunks]
            count = np.minimum(places - begin, MAX_BUCKET)
        found = []
        some = np.flatnonzero(count)
        places, begin, count = places[some], begin[some], count[some]
        step = 0
        while len(places):  # the first hash of every other bucket at once, then the second
            partners = begin + step
            distance = np.bitwise_count(self.hashes[places] ^ self.hashes[partners])
            close = np.flatnonzero(distance <= max_distance)
            if len(close):
                ends = self.rows[places[close]], self.rows[partners[close]]
                found.append(HashPairs(np.minimum(*ends), np.maximum(*ends), distance[close]))
            step += 1
            more = np.flatnonzero(count > step)
            places, begin, count = places[more], begin[more], count[more]
        return _join(found)


def _join(parts: Sequence[HashPairs]) -> HashPairs:
    empty = HashPairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint8))
    some = [empty, *parts]
    return HashPairs(
        np.concatenate([part.first for part in some]),
        np.concatenate([part.later for part in some]),
        np.concatenate([part.distance for part in some]),
    )


def _take(pairs: HashPairs, order: NDArray[np.intp]) -> HashPairs:
    return HashPairs(pairs.first[order], pairs.later[order], pairs.distance[order])


def _keep_closest(pairs: HashPairs) -> HashPairs:
    """Return each pair once, and MAX_PARTNERS of each later row: the closest."""
    pairs = _take(pairs, np.lexsort((pairs.first, pairs.distance, pairs.later)))
    repeated = (np.diff(pairs.first, prepend=-1) == 0) & (np.diff(pairs.later, prepend=-1) == 0)
    pairs = _take(pairs, np.flatnonzero(~repeated))
    starts = np.flatnonzero(np.diff(pairs.later, prepend=-1))
    counts = np.diff(starts, append=len(pairs))
    rank = np.arange(len(pairs)) - np.repeat(starts, counts)
    return _take(pairs, np.flatnonzero(rank < MAX_PARTNERS))
