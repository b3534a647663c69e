"""Make one answer of several models: of their heads' likeliest classes, or of their descriptors.

The models may know different classes. Arrays and records in, arrays and records out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embed.errors import InputError
from embed.head_scores import MOST_CLASSES, HeadScores
from embed.shards import Embeddings
from embed.suggest import suggest

from .ensemble_rules import RULES, WITH_WEIGHTS, Ballots, Bools, Floats, Ints
from .label_scores import look_up

LENGTH_TOLERANCE = 0.01  # of descriptors; more than float16 rounds


def combine_heads(
    members: Sequence[HeadScores], rule: str, weights: Sequence[float] | None = None
) -> HeadScores:
    """Rank the classes that the members name by what the rule makes of their probabilities.

    Args:
        members: [M], each of the same N images; a row ends in labels -1 where it has fewer classes.
        rule: a name of RULES. "corrected" takes two members, the one of more classes first.
        weights: [M], 0 or more, of the members; only their ratios count. "weighted" must have
            them, "agreeing-mean" may.

    Returns:
        The classes by descending value, ties by lower label; H is what the members have together,
        at most MOST_CLASSES; rows of fewer classes end in label -1 and 0. Scores and probabilities
        both are the value, in [0, 1]; the probabilities of a row need not add up to 1.

    Raises:
        ValueError: an unknown rule, no members or too many for it, members of different images,
            probabilities outside [0, 1], or weights that are missing, not taken or senseless.

    Example:
        >>> def head(labels, values):
        ...     scores = np.array([values], np.float32)
        ...     return HeadScores(np.array([labels]), scores, scores)
        >>> both = combine_heads([head([7, 3], [0.5, 0.25]), head([3], [0.75])], "mean")
        >>> both.labels.tolist(), both.probabilities.tolist()
        ([[3, 7, -1]], [[0.5, 0.25, 0.0]])
    """
    _check_members(members, rule)
    ballots = _collect(members, _check_weights(weights, len(members), rule))
    return _rank(ballots.labels, RULES[rule](ballots))


def concatenate_descriptors(
    parts: Sequence[NDArray[np.float32]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Join the descriptors that M models have of the same images into one.

    Each part is multiplied by the square root of its share of the weights, and an inner product
    multiplies two of these: the cosine of joined descriptors is the weighted mean of M cosines.

    Args:
        parts: [M] of [N, D_m] float32, rows of length 1.
        weights: [M], 0 or more; only their ratios count. None: all the same.

    Returns:
        [N, sum of all D_m] float32, rows of length 1.

    Raises:
        ValueError: no parts, different N, rows that are not of length 1, or senseless weights.
    """
    _check_parts(parts)
    shares = _check_weights(weights, len(parts))
    shares = np.sqrt(shares / shares.sum())
    scaled = [part * np.float32(share) for part, share in zip(parts, shares, strict=True)]
    return np.concatenate(scaled, axis=1, dtype=np.float32)


def combine_embeddings(
    parts: Sequence[Embeddings], rule: str, weights: Sequence[float] | None = None
) -> Embeddings:
    """Make one description of what the members say of the same images.

    Args:
        parts: [M] of N images in the same order.
        rule: see combine_heads.
        weights: [M] of the members; only their ratios count. None: all the same.

    Returns:
        Descriptors side by side, those of regions too, rows of length 1; the classes by the rule.

    Raises:
        InputError: parts of different images, or with different regions.
        ValueError: what combine_heads and concatenate_descriptors refuse.
    """
    if any(part.ids != parts[0].ids for part in parts):
        raise InputError("the members of an ensemble describe different images; embed them again")
    regions = [part.regions for part in parts if part.regions is not None]
    if len(regions) not in (0, len(parts)) or len({found.shape[1] for found in regions}) > 1:
        raise InputError(
            "the members of an ensemble describe different regions; set the same embed.regions"
        )
    return Embeddings(
        parts[0].ids,
        parts[0].landmark_ids,
        concatenate_descriptors([part.vectors for part in parts], weights),
        combine_heads([part.head for part in parts], rule, weights),
        _concatenate_regions(regions, weights) if regions else None,
    )


def _concatenate_regions(
    parts: Sequence[NDArray[np.float32]], weights: Sequence[float] | None
) -> NDArray[np.float32]:
    """Join [N, R, D_m] as concatenate_descriptors does [N, D_m]."""
    flat = [part.reshape(-1, part.shape[2]) for part in parts]
    joined = concatenate_descriptors(flat, weights)
    return joined.reshape(*parts[0].shape[:2], joined.shape[1])


def keep_shared(parts: Sequence[Embeddings]) -> list[Embeddings]:
    """Return the parts of the images that all members could read, in their order."""
    shared = set(parts[0].ids).intersection(*(part.ids for part in parts))
    kept = []
    for part in parts:
        rows = [row for row, image_id in enumerate(part.ids) if image_id in shared]
        kept.append(part.take(np.array(rows, dtype=np.int64)))
    return kept


def _check_parts(parts: Sequence[NDArray[np.float32]]) -> None:
    """Raise ValueError for what concatenate_descriptors does not take, weights aside."""
    if not parts:
        raise ValueError("no descriptors to join; expected those of one model or more")
    for number, part in enumerate(parts):
        if part.ndim != 2 or len(part) != len(parts[0]):
            shapes = [part.shape for part in parts]
            raise ValueError(f"parts of shapes {shapes}, expected [N, D] each, of one N")
        lengths = np.linalg.norm(part, axis=1)
        for row in np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))[:1]:
            raise ValueError(
                f"row {row} of part {number} has length {lengths[row]:.3g}, expected 1; "
                "normalise descriptors before they are joined"
            )


def _check_members(members: Sequence[HeadScores], rule: str) -> None:
    """Raise ValueError for what combine_heads does not take, weights aside."""
    if rule not in RULES:
        raise ValueError(f"unknown rule '{rule}'; {suggest(rule, RULES)}")
    if not members or (rule == "corrected" and len(members) != 2):
        wanted = "two: of the large set, then of the small" if rule == "corrected" else "1 or more"
        raise ValueError(f"rule '{rule}' was given {len(members)} members, expected {wanted}")
    counts = [len(member) for member in members]
    if len(set(counts)) > 1:
        raise ValueError(
            f"members have scores of {counts} images; expected the same images in the same order"
        )
    for number, member in enumerate(members):
        inside = (member.probabilities >= 0) & (member.probabilities <= 1)
        for row in np.flatnonzero(~inside.all(axis=1))[:1]:
            raise ValueError(
                f"image {row} has probabilities {member.probabilities[row].tolist()} by member "
                f"{number}, expected numbers in [0, 1]"
            )


def _check_weights(weights: Sequence[float] | None, count: int, rule: str | None = None) -> Floats:
    """Return [count] weights, ones where none are given. Raises ValueError if they won't do."""
    if weights is None and rule != "weighted":
        return np.ones(count)
    if weights is None:
        raise ValueError("rule 'weighted' needs weights, one a member; or take 'mean'")
    if rule is not None and rule not in WITH_WEIGHTS:
        raise ValueError(f"rule '{rule}' takes no weights; {' and '.join(WITH_WEIGHTS)} do")
    found = np.asarray(weights, dtype=np.float64)
    if found.shape != (count,) or not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise ValueError(
            f"weights are {list(weights)}, expected {count} of them, 0 or more, one above 0"
        )
    return found


def _collect(members: Sequence[HeadScores], weights: Floats) -> Ballots:
    """Line the members' classes up, image by image."""
    labels = _union(np.concatenate([member.labels for member in members], axis=1))
    probabilities = [look_up(m.labels, m.probabilities, labels, missing=0.0) for m in members]
    firsts = [_mark_first(member, labels) for member in members]
    return Ballots(labels, np.stack(probabilities), np.stack(firsts), weights)


def _union(labels: Ints) -> Ints:
    """Return each label of a row [N, L] once, the others as -1."""
    ascending = np.sort(labels, axis=1)
    ascending[:, 1:][ascending[:, 1:] == ascending[:, :-1]] = -1
    return ascending


def _mark_first(member: HeadScores, labels: Ints) -> Bools:
    """Mark [N, L] the member's first choice among the labels; none for an image without one."""
    if not member.labels.shape[1]:
        return np.zeros(labels.shape, dtype=np.bool_)
    return np.asarray((labels == member.labels[:, :1]) & (labels >= 0))


def _rank(labels: Ints, values: Floats) -> HeadScores:
    """Sort each row by descending value, ties by lower label, padding last."""
    values = np.where(labels >= 0, values, -1.0)
    order = np.lexsort((labels, -values), axis=1)[:, :MOST_CLASSES]
    ranked = np.take_along_axis(values, order, axis=1).clip(0).astype(np.float32)
    return HeadScores(np.take_along_axis(labels, order, axis=1), ranked, ranked.copy())
