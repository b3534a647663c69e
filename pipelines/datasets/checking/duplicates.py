"""Find images that are there twice: the same file, or the same photo saved anew.

Reads the small pictures of a scan. Two photos of one thing are no duplicates, nor is a mirror
image: its hash is as far away as that of any other photo, and whatever is written on it reads
another way.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embed.parallel import run_parallel
from pipelines.progress import progress_bar

from .catalogue import Catalogue
from .hash_pairs import find_close
from .scan_parts import load_thumbnails

# Of 600 photos (of cartons, and of the rendered city) all were found again when saved at quality 50
# or 20, at half the size or in grey, 97 % of those with 5 % of width and height cut off, and 45 %
# with 10 %. Among the 3,600 different photos there are 124 pairs whose hashes are as close, and 4
# that are as similar, too: taken from one place, one moment after the other.
MAX_DISTANCE = 10  # bits
MIN_SIMILARITY = 0.97  # of `compare`
MIN_CONTRAST = 2.0  # below, there is nothing on the picture; the dimmest of 3,600 photos has 6.2
CHUNK = 4096  # pairs compared between two moves of the bar
ITERATIONS = 30
EPSILON = 1e-5  # of the similarity, at which the alignment ends
BLUR = 3  # pixels; without it one in ten cropped copies is not aligned


@dataclass(frozen=True, eq=False)
class Duplicates:
    """P pairs of rows of a catalogue, sorted by (later, first)."""

    first: NDArray[np.int64]  # [P], the one to be preferred
    later: NDArray[np.int64]  # [P], greater than first
    exact: NDArray[np.bool_]  # [P], whether the files are the same to the byte
    distance: NDArray[np.uint8]  # [P] bits that the hashes differ in
    similarity: NDArray[np.float32]  # [P] 1 where exact


def find_duplicates(catalogue: Catalogue, folder: Path) -> Duplicates:
    """Find the duplicates among the images that can be read.

    Of files that are the same, each is paired with the first; only that one is compared with
    others. Images without content (MIN_CONTRAST) are near no other.

    Args:
        catalogue: of the dataset.
        folder: the one with its complete scan.
    """
    first = _find_same(catalogue)
    rows = np.arange(len(first))
    later = np.flatnonzero(first < rows)
    exact = Duplicates(
        first[later],
        later,
        np.ones(len(later), dtype=bool),
        np.zeros(len(later), dtype=np.uint8),
        np.ones(len(later), dtype=np.float32),
    )
    compared = np.flatnonzero((first == rows) & catalogue.readable & ~find_blank(catalogue))
    return _join(exact, _find_near(catalogue, compared, folder))


def find_blank(catalogue: Catalogue) -> NDArray[np.bool_]:
    """Return which images show nothing: all of one colour, or nearly, [N]."""
    contrast = np.asarray(catalogue.scan["contrast"].fill_null(np.inf))
    return np.asarray(contrast < MIN_CONTRAST)


def _find_same(catalogue: Catalogue) -> NDArray[np.int64]:
    """Return the first row whose file has the same bytes, [N]; its own where unreadable."""
    rows = np.arange(len(catalogue.ids))
    readable = np.flatnonzero(catalogue.readable)
    hashes = catalogue.scan["sha256"].take(pa.array(readable)).combine_chunks()
    codes = np.asarray(hashes.cast(pa.binary()).dictionary_encode().indices)
    _, place = np.unique(codes, return_index=True)
    rows[readable] = readable[place][codes]
    return rows


def _find_near(catalogue: Catalogue, rows: NDArray[np.int64], folder: Path) -> Duplicates:
    """Return the near duplicates among some rows, which are sorted."""
    hashes = np.asarray(catalogue.scan["phash"].take(pa.array(rows)))
    pairs = find_close(hashes, MAX_DISTANCE)
    shown, places = np.unique(np.stack([pairs.first, pairs.later]), return_inverse=True)
    pictures = load_thumbnails(folder, pa.array(catalogue.ids[rows[shown]], pa.string()))
    similarity = np.empty(len(pairs), dtype=np.float32)
    with progress_bar("compare images", len(pairs)) as advance:
        for start in range(0, len(pairs), CHUNK):
            part = slice(start, start + CHUNK)
            similarity[part] = run_parallel(
                lambda pair: compare(pictures[pair[0]], pictures[pair[1]]), places.T[part].tolist()
            )
            advance(len(similarity[part]))
    near = np.flatnonzero(similarity >= MIN_SIMILARITY)
    return Duplicates(
        rows[pairs.first[near]],
        rows[pairs.later[near]],
        np.zeros(len(near), dtype=bool),
        pairs.distance[near],
        similarity[near],
    )


def compare(picture0: NDArray[np.uint8], picture1: NDArray[np.uint8]) -> float:
    """Return how much two small pictures are the same, brightness and contrast apart.

    That is their correlation, -1 to 1, as they are or, if that is more, with the second one moved,
    scaled, turned and sheared to match the first where they overlap.

    Args:
        picture0: [SIDE, SIDE] uint8, not of one value.
        picture1: the same.

    Source: G. Evangelidis, E. Psarakis, "Parametric Image Alignment Using Enhanced Correlation
    Coefficient Maximization", PAMI 2008; cv2.findTransformECC.
    """
    as_is = float(np.corrcoef(picture0.ravel(), picture1.ravel())[0, 1])
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, EPSILON)
    start, everywhere = np.eye(2, 3, dtype=np.float32), np.ones_like(picture1)
    try:
        aligned, _ = cv2.findTransformECC(
            picture0, picture1, start, cv2.MOTION_AFFINE, criteria, everywhere, BLUR
        )
    except cv2.error:  # it moved out of the picture
        return as_is
    return max(as_is, float(aligned))


def _join(exact: Duplicates, near: Duplicates) -> Duplicates:
    fields = zip(vars(exact).values(), vars(near).values(), strict=True)
    joined = Duplicates(*(np.concatenate(both) for both in fields))
    order = np.lexsort((joined.first, joined.later))
    return Duplicates(*(values[order] for values in vars(joined).values()))
