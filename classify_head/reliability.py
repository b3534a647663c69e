"""Measure whether a confidence is a probability: of answers given 0.8, are 80 percent right?

Arrays in, numbers out. Every function takes the N answers, not the queries without one:

    correct: [N] bool, whether the answer is right;
    probability: [N] float64 in [0, 1], the claimed probability that it is.

A figure of no answers is undefined, and a ValueError says so. Calibration says nothing about how
well right and wrong answers are told apart (a constant share of right answers is perfectly
calibrated): report it beside GAP or the area of coverage.py, never instead.

Source: Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning", AAAI 2015 (both errors, bins of equal mass); Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017 (bins of equal width, reliability diagrams).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Answers of about equal probability, binned; B bins that are not empty, ascending.

    Attributes:
        mean_probability: [B] float64, mean claimed probability.
        share_right: [B] float64, share of right answers.
        low: [B] float64, lower end of Wilson's 95 percent interval of share_right.
        high: [B] float64, its upper end.
        counts: [B] int64, answers in the bin, 1 or more.

    Raises:
        ValueError: for unequal shapes, no bin, an empty bin, a share outside [0, 1] or bins that
            don't ascend.
    """

    mean_probability: Floats
    share_right: Floats
    low: Floats
    high: Floats
    counts: Ints

    def __post_init__(self) -> None:
        """Check that every bin holds answers and every share is one."""
        shares = (self.mean_probability, self.share_right, self.low, self.high)
        shapes = [array.shape for array in (*shares, self.counts)]
        if len(set(shapes)) > 1 or self.counts.ndim != 1 or not len(self.counts):
            raise ValueError(f"the arrays have shapes {shapes}, expected [B] each, B from 1 on")
        if (self.counts < 1).any():
            raise ValueError(f"counts are {self.counts.tolist()}; leave out empty bins")
        if not all(((array >= 0) & (array <= 1)).all() for array in shares):
            raise ValueError("probabilities and shares must lie in [0, 1]")
        if not (np.diff(self.mean_probability) > 0).all():
            raise ValueError("mean_probability must ascend from bin to bin")

    @property
    def gaps(self) -> Floats:
        """[B] float64, |share_right - mean_probability|."""
        return np.abs(self.share_right - self.mean_probability)

    @property
    def expected_error(self) -> float:
        """Mean of the gaps, weighted by the answers in each bin (ECE)."""
        return float(np.average(self.gaps, weights=self.counts))

    @property
    def maximum_error(self) -> float:
        """Largest of the gaps (MCE); bins of few answers make it large by chance."""
        return float(self.gaps.max())


def reliability_bins(
    correct: Bools, probability: Floats, *, bins: int = 10, equal_mass: bool = True
) -> ReliabilityBins:
    """Compare claimed and observed shares of right answers, bin by bin.

    Bins of equal mass hold N / bins answers each, as nearly as ties allow: equal probabilities
    share a bin, the one where the middle of their ranks falls. Bins of equal width are
    (b / bins, (b + 1) / bins], the first with 0. Bins that stay empty are left out.

    Args:
        correct: [N] bool.
        probability: [N] float64 in [0, 1].
        bins: 1 or more.
        equal_mass: whether bins have equal mass; otherwise equal width, where most bins of a
            sure model are nearly empty.

    Raises:
        ValueError: for shapes other than [N], no answers, a probability outside [0, 1], or
            fewer than 1 bin.

    Example: two bins, of which the surer claims 0.9 and has three of four right.

        >>> correct = np.array([False, True, False, False, True, True, True, False])
        >>> found = reliability_bins(correct, np.array([0.2] * 4 + [0.9] * 4), bins=2)
        >>> found.mean_probability.round(3).tolist(), found.share_right.tolist()
        ([0.2, 0.9], [0.25, 0.75])
    """
    _check(correct, probability)
    if bins < 1:
        raise ValueError(f"bins is {bins}, expected 1 or more")
    order = np.argsort(probability)
    correct, probability = correct[order], probability[order]
    chosen = _equal_mass(probability, bins) if equal_mass else _equal_width(probability, bins)
    _, starts, counts = np.unique(chosen, return_index=True, return_counts=True)
    right = np.add.reduceat(correct.astype(np.int64), starts)
    means = np.add.reduceat(probability, starts) / counts
    low, high = _wilson_interval(right, counts)
    return ReliabilityBins(
        # By a rounding error, the mean of equal numbers may be another one.
        mean_probability=np.clip(means, probability[starts], probability[starts + counts - 1]),
        share_right=right / counts,
        low=low,
        high=high,
        counts=counts,
    )


def _wilson_interval(
    right: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bounds [B] of shares of right answers, with 95 % confidence; Wilson 1927."""
    z = 1.959963984540054  # standard errors
    share = right / counts
    middle = (2 * right + z**2) / (2 * (counts + z**2))
    reach = z * np.sqrt(4 * right * (1 - share) + z**2) / (2 * (counts + z**2))
    low = np.where(right == 0, 0.0, np.clip(middle - reach, 0, 1))
    return low, np.where(right == counts, 1.0, np.clip(middle + reach, 0, 1))


def expected_calibration_error(
    correct: Bools, probability: Floats, *, bins: int = 10, equal_mass: bool = True
) -> float:
    """Compute the mean gap between claimed and observed shares of right answers, in [0, 1].

    ECE = sum over bins b of n_b / N * |share right in b - mean probability in b|. Arguments,
    ties and errors are those of reliability_bins. Few answers a bin make it too large: even
    a perfectly calibrated model has about 0.8 * sqrt(p * (1 - p) * bins / N).

    Source: Naeini et al. 2015; Guo et al. 2017, equation 3, with bins of equal width.

    Example: the two bins are off by 0.05 and 0.15, each with half of the answers.

        >>> correct = np.array([False, True, False, False, True, True, True, False])
        >>> probability = np.array([0.2] * 4 + [0.9] * 4)
        >>> round(expected_calibration_error(correct, probability, bins=2), 4)
        0.1
    """
    return reliability_bins(correct, probability, bins=bins, equal_mass=equal_mass).expected_error


def maximum_calibration_error(
    correct: Bools, probability: Floats, *, bins: int = 10, equal_mass: bool = True
) -> float:
    """Compute the largest gap of a bin between claimed and observed share, in [0, 1].

    Arguments, ties and errors are those of reliability_bins.

    Source: Naeini et al. 2015; Guo et al. 2017, equation 5, with bins of equal width.

    Example: as in expected_calibration_error.

        >>> correct = np.array([False, True, False, False, True, True, True, False])
        >>> probability = np.array([0.2] * 4 + [0.9] * 4)
        >>> round(maximum_calibration_error(correct, probability, bins=2), 4)
        0.15
    """
    return reliability_bins(correct, probability, bins=bins, equal_mass=equal_mass).maximum_error


def brier_score(correct: Bools, probability: Floats) -> float:
    """Compute the mean squared distance of the probabilities from 1 (right) and 0 (wrong).

    In [0, 1], lower is better; it rewards calibration and telling right from wrong, needs no
    bins, and is smallest in expectation for the true probabilities.

    Raises:
        ValueError: as reliability_bins.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Example: (0.1 ** 2 + 0.3 ** 2) / 2.

        >>> round(brier_score(np.array([True, False]), np.array([0.9, 0.3])), 4)
        0.05
    """
    _check(correct, probability)
    return float(np.mean((probability - correct) ** 2))


def log_loss(correct: Bools, probability: Floats) -> float:
    """Compute the mean negative logarithm of the probability of what turned out, in nats.

    Like the Brier score, but a sure answer that is wrong costs without bound; probabilities are
    clipped to [eps, 1 - eps] with eps = 2.2e-16, so that it costs 36.04 rather than infinity.

    Raises:
        ValueError: as reliability_bins.

    Example: -(log 0.9 + log 0.7) / 2.

        >>> round(log_loss(np.array([True, False]), np.array([0.9, 0.3])), 4)
        0.231
    """
    _check(correct, probability)
    eps = np.finfo(np.float64).eps
    of_outcome = np.where(correct, probability, 1 - probability)
    return float(-np.log(np.clip(of_outcome, eps, 1 - eps)).mean())


def _equal_mass(probability: Floats, bins: int) -> Ints:
    """Return the bin of every answer by the middle rank of its tied group: [N] int64."""
    _, place, sizes = np.unique(probability, return_inverse=True, return_counts=True)
    # The middle rank is (ends - sizes / 2) / N; doubled, for whole numbers throughout.
    middles = 2 * np.cumsum(sizes) - sizes
    return np.asarray((bins * middles // (2 * len(probability)))[place], dtype=np.int64)


def _equal_width(probability: Floats, bins: int) -> Ints:
    """Return the bin of every answer, each bin open below and closed above: [N] int64."""
    return np.searchsorted(np.arange(1, bins) / bins, probability, side="left")


def _check(correct: Bools, probability: Floats) -> None:
    if correct.ndim != 1 or correct.shape != probability.shape or not len(correct):
        shapes = f"correct {correct.shape} and probability {probability.shape}"
        raise ValueError(f"{shapes}: expected [N] both, for at least one answer")
    if correct.dtype != np.bool_:
        raise ValueError(f"correct has dtype {correct.dtype}, expected bool")
    for row in np.flatnonzero(~((probability >= 0) & (probability <= 1)))[:1]:
        problem = f"row {row} has probability {probability[row]}, outside [0, 1]"
        raise ValueError(f"{problem}; calibrate the confidence first, or pick other rows")
