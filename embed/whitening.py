"""Whiten global descriptors: give their directions equal say, and fewer dimensions if wanted.

A few directions, common to most images, dominate the cosines of descriptors; whitening scales them
down. Better still, where labels are at hand, it scales down those in which photos of one thing
differ. It is fitted on the descriptors of the database, and must then be applied to database and
queries alike. Reads and writes one .safetensors file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import InputError, MissingFileError

Floats = NDArray[np.float64]

FORMAT = "whitening 1"  # part of the fingerprint
CHUNK_ROWS = 1 << 16  # converted to float64 at a time
FLAT = 1e-12  # variance of unit vectors below which a direction is rounding noise
# Of the covariance within classes; from .3 to .8 hardly a difference on cartons and landmarks.
SHRINKAGE = 0.5
LEAST_REPEATS = 20  # photos beyond the first of each class that a covariance is measured by


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fitted whitening: centre, project, scale."""

    mean: NDArray[np.float32]  # [D] of unit descriptors
    projection: NDArray[np.float32]  # [D', D] scaled principal directions, most variance first

    def __post_init__(self) -> None:
        """Raise InputError unless shapes fit and all values are finite."""
        if self.mean.ndim != 1 or self.projection.shape[1:] != self.mean.shape:
            raise ValueError(
                f"mean {self.mean.shape} and projection {self.projection.shape}, "
                "expected [D] and [D', D]"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.projection).all()):
            raise ValueError("mean and projection must be finite; fit the whitening again")

    @property
    def fingerprint(self) -> str:
        """Name the whitening by what it computes: sha256, 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{FORMAT} {self.projection.shape}".encode())
        for values in (self.mean, self.projection):
            digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
        return digest.hexdigest()

    def apply(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Whiten descriptors.

        Args:
            vectors: [N, D] of any length but 0; they are brought to length 1 first.

        Returns:
            [N, D'], rows of length 1.

        Raises:
            InputError: another D than it was fitted on, or a row that is 0 or not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise ValueError(
                f"vectors have shape {vectors.shape}, this whitening was fitted on "
                f"[N, {len(self.mean)}]; use the model it was fitted with, or fit it again"
            )
        centred = _unit(np.asarray(vectors, dtype=np.float32)) - self.mean
        return _unit(centred @ self.projection.T)

    def apply_all(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Whiten the V descriptors of each of N images: [N, V, D] to [N, V, D']; as apply."""
        whitened = self.apply(vectors.reshape(-1, vectors.shape[2]))
        return whitened.reshape(*vectors.shape[:2], whitened.shape[1])

    def save(self, path: Path) -> None:
        """Write mean and projection; the same whitening gives the same bytes."""
        tensors = {
            "mean": np.ascontiguousarray(self.mean),
            "projection": np.ascontiguousarray(self.projection),
        }
        # One entry alone: the library writes several in a random order.
        save_file(tensors, path, metadata={"fingerprint": self.fingerprint})


def load_whitening(path: Path) -> Whitening:
    """Read a saved whitening.

    Raises:
        MissingFileError: no file there.
        InputError: the file is no whitening, or not as it was written.
    """
    if not path.is_file():
        raise MissingFileError(f"no whitening at {path}; fit one and save it there")
    try:
        with safe_open(str(path), "np") as file:
            whitening = Whitening(file.get_tensor("mean"), file.get_tensor("projection"))
            written = (file.metadata() or {}).get("fingerprint")
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is no whitening ({error}); fit it again") from error
    if whitening.fingerprint != written:
        raise InputError(f"{path} is not as it was written, or of another version; fit it again")
    return whitening


def fit_whitening(
    vectors: NDArray[np.floating], dim: int, *, power: float = 1.0, regularisation: float = 0.0
) -> Whitening:
    """Fit PCA whitening.

    Rows of length 1 are centred, projected onto the dim directions of most variance, and scaled by
    (variance + regularisation * mean variance)^(-power / 2). The sign of a direction, which the
    eigenvectors leave open, makes its largest entry positive.

    Args:
        vectors: [N, D] descriptors, N above dim; some tens of thousands are plenty.
        dim: dimensions to keep, 1 to D.
        power: 0 rotates alone, 1 gives all directions the same variance; between them the weak
            directions, which hold much noise, are raised less.
        regularisation: 0 or more; keeps directions of little variance small.

    Raises:
        InputError: a setting out of its range, rows that are 0 or not finite, or vectors that are
            too few or too much alike to fill dim directions.

    Source:
        Jégou, Chum: Negative Evidences and Co-occurrences in Image Retrieval: the Benefit of PCA
        and Whitening, 2012; power and regularisation are additions.
    """
    _check_request(vectors, dim, power, regularisation)
    mean, covariance = _measure(vectors)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1].T
    filled = int((variances > FLAT).sum())
    if power > 0 and dim > filled and (regularisation == 0 or filled == 0):
        raise InputError(
            f"the {len(vectors)} vectors fill only {filled} directions, {dim} are wanted; give "
            "more different vectors, keep fewer dimensions, or set a regularisation"
        )
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    variances = np.maximum(variances, 0) + regularisation * variances.mean()
    scales = variances[:dim, None] ** (-power / 2)
    return Whitening(mean.astype(np.float32), (directions[:dim] * scales).astype(np.float32))


def fit_within_class(vectors: NDArray[np.floating], labels: NDArray[np.int64]) -> Whitening | None:
    """Fit whitening of what differs among the photos of one thing; what tells things apart stays.

    Rows of length 1 are centred and multiplied by the inverse square root of the covariance within
    the classes, which is drawn towards a multiple of the identity: of few photos it is uncertain.

    Args:
        vectors: [N, D] descriptors, of any length but 0.
        labels: [N] their classes.

    Returns:
        The whitening, [D, D]; None where fewer than LEAST_REPEATS rows are not the only ones of
        their class, or all are alike: then nothing is known of how photos of one thing differ.

    Raises:
        ValueError: rows that are 0 or not finite.

    Source:
        Hatch, Kajarekar, Stolcke: Within-Class Covariance Normalization for SVM-based Speaker
        Recognition, 2006; shrinkage as Ledoit and Wolf, 2004, with a fixed share.
    """
    classes, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    freedom = len(labels) - len(classes)
    if freedom < LEAST_REPEATS:
        return None
    sums = np.zeros((len(classes), vectors.shape[1]))
    for start, chunk in _iterate_units(vectors):
        np.add.at(sums, places[start : start + len(chunk)], chunk)
    means = sums / sizes[:, None]
    variances, directions = _spread(vectors, means, places, freedom)
    level = float(variances.sum()) / vectors.shape[1]
    if level < FLAT:
        return None
    rest = SHRINKAGE**-0.5  # the scale of directions in which nothing varies
    scales = ((1 - SHRINKAGE) * variances / level + SHRINKAGE) ** -0.5
    # Symmetric, so that the signs of the eigenvectors, which are left open, do not matter.
    projection = (directions * (scales - rest)) @ directions.T
    projection[np.diag_indices_from(projection)] += rest
    mean = sums.sum(axis=0) / len(labels)
    return Whitening(mean.astype(np.float32), projection.astype(np.float32))


def _spread(
    vectors: NDArray[np.floating], means: Floats, places: NDArray[np.intp], freedom: int
) -> tuple[Floats, Floats]:
    """Return variances [R] and directions [D, R] of what is left of rows [N, D] without the means.

    Of fewer rows than values the products of rows among themselves tell it all, in far less time.
    """
    n, dim = vectors.shape
    if n < dim:
        rest = np.concatenate([chunk for _, chunk in _iterate_units(vectors)]) - means[places]
        variances, mixes = np.linalg.eigh(rest @ rest.T / freedom)
        there = variances > FLAT * max(variances[-1], FLAT)
        variances, mixes = variances[there], mixes[:, there]
        return variances, rest.T @ mixes / (variances * freedom) ** 0.5
    scatter = np.zeros((dim, dim))
    for start, chunk in _iterate_units(vectors):
        rest = chunk - means[places[start : start + len(chunk)]]
        scatter += rest.T @ rest
    variances, directions = np.linalg.eigh(scatter / freedom)
    return np.maximum(variances, 0), directions


def _check_request(
    vectors: NDArray[np.floating], dim: int, power: float, regularisation: float
) -> None:
    if vectors.ndim != 2 or not 1 <= dim <= vectors.shape[1]:
        raise InputError(
            f"dim is {dim} for vectors of shape {vectors.shape}, expected [N, D] and 1 to D"
        )
    if not 0 <= power <= 1 or not 0 <= regularisation < np.inf:
        raise ValueError(
            f"power is {power} and regularisation {regularisation}, expected 0 to 1 and 0 or more"
        )
    if len(vectors) <= dim:
        raise InputError(
            f"{len(vectors)} vectors fill at most {max(0, len(vectors) - 1)} directions, {dim} are "
            f"wanted; give at least {dim + 1} vectors or keep fewer dimensions"
        )


def _measure(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean [D] and covariance [D, D] of the rows, each brought to length 1."""
    mean = np.zeros(vectors.shape[1])
    for _, chunk in _iterate_units(vectors):
        mean += chunk.sum(axis=0)
    mean /= len(vectors)
    covariance = np.zeros((len(mean), len(mean)))
    for _, chunk in _iterate_units(vectors):
        centred = chunk - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(vectors) - 1)


def _iterate_units(vectors: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the rows in chunks, each with its first row: a float64 copy of all would not fit."""
    for start in range(0, len(vectors), CHUNK_ROWS):
        yield start, _unit(vectors[start : start + CHUNK_ROWS].astype(np.float64), start)


def _unit(vectors: NDArray[Any], first_row: int = 0) -> NDArray[Any]:
    """Divide rows by their lengths, in the precision of the vectors."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        row = int(np.flatnonzero(~usable)[0])
        raise ValueError(
            f"vector {first_row + row} has length {lengths[row, 0]}, expected a finite one above "
            "0; embed that image again"
        )
    return np.asarray(vectors / lengths, dtype=vectors.dtype)
