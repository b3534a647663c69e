"""How many landmarks and photos a demo city has, and which photo shows what."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from embed.errors import InputError

from .difficulty import Difficulty
from .landmarks import Blueprint, twin_forms
from .names import SIGNS, invent_names

EDITION = 1  # raise it whenever the same plan and seed would give other pictures
# Streams of random numbers: [seed, stream, ...] is the seed of each generator.
FORM, DETAIL, SETTING, SHOT, SCENE, POOL, TABLE = range(1, 8)


@dataclass(frozen=True)
class CityPlan:
    """Sizes of a demo city."""

    landmarks: int = 72
    unseen: int = 18  # of the landmarks: they are in the database, not in the training set
    twins: int = 11  # pairs of landmarks that share their architecture and differ in detail
    train: int = 850  # photos of the seen landmarks, about; a long tail
    fewest: int = 3  # training photos of a seen landmark
    most: int = 60
    unseen_photos: int = 6  # database photos of an unseen landmark
    queries: int = 320  # test photos with a landmark
    distractors: int = 160  # test photos without one
    non_landmark: int = 200  # photos of the pool without a landmark
    scale: float = 1.0  # of the photos: 1 is 400 x 300 pixels and the like
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be met.

        Raises:
            InputError: a size is negative or contradicts another one.
        """
        seen = self.landmarks - self.unseen
        if not 0 <= self.unseen < self.landmarks:
            raise InputError(
                f"unseen {self.unseen} must be 0 to {self.landmarks - 1} (landmarks - 1)"
            )
        if not 1 <= self.fewest <= self.most:
            raise InputError(f"fewest {self.fewest} must be 1 to most ({self.most})")
        if not seen * self.fewest <= self.train <= seen * self.most:
            low, high = seen * self.fewest, seen * self.most
            raise InputError(
                f"train {self.train} photos of {seen} seen landmarks; expected {low} to {high}"
            )
        if min(self.queries, self.distractors, self.non_landmark, self.twins) < 0:
            raise InputError("queries, distractors, non_landmark and twins must not be negative")


@dataclass(frozen=True)
class Shot:
    """One photo to take."""

    image_id: str
    landmark: int  # number of the landmark, from 0; -1: none
    number: int  # of the photo, seeds its generator
    split: str  # train, database, query, distractor or pool
    hard: bool = False


@dataclass(frozen=True)
class City:
    """All that is decided before the first photo.

    Attributes:
        blueprints: of each landmark, by number.
        labels: landmark_id of each landmark, by number; 1 to their count in a random order.
        names: of each landmark, by number.
        unseen: numbers of the landmarks that are not in the training set.
        shots: all photos.
        twins: landmark_ids of each pair of landmarks that share their architecture.
    """

    blueprints: tuple[Blueprint, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    unseen: frozenset[int]
    shots: tuple[Shot, ...]
    twins: tuple[tuple[int, int], ...]


def long_tail(count: int, total: int, fewest: int, most: int) -> list[int]:
    """Share photos among landmarks: most for the first, steeply fewer for the others.

    Args:
        count: landmarks.
        total: photos; met exactly.
        fewest: photos of a landmark at least.
        most: photos of a landmark at most.

    Returns:
        Photos of each landmark, descending.

    >>> long_tail(4, 20, 3, 10)
    [10, 4, 3, 3]
    """
    place = np.linspace(1, 0, count) if count > 1 else np.ones(1)
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        shares = np.round(fewest + (most - fewest) * place**middle)
        low, high = (middle, high) if shares.sum() > total else (low, middle)
    shares = np.round(fewest + (most - fewest) * place**high).astype(int)
    shares[0] -= max(int(shares.sum()) - total, 0)  # even the steepest tail was too much
    while shares.sum() < total:
        room = (shares < most) & (np.append(True, shares[1:] < shares[:-1]))
        free = np.flatnonzero(room)[: total - int(shares.sum())]
        shares[free] += 1
    return [int(v) for v in shares]


def plan_city(plan: CityPlan, seed: int) -> City:
    """Decide on landmarks, names and photos."""
    rng = np.random.default_rng([seed, TABLE])
    forms = twin_forms(plan.landmarks, plan.twins)
    names = invent_names(rng, [kind for kind, _ in forms])
    blueprints = tuple(
        Blueprint(kind, (seed, FORM, form), (seed, DETAIL, k), _words(names[k], k))
        for k, (kind, form) in enumerate(forms)
    )
    labels = tuple(int(v) + 1 for v in rng.permutation(plan.landmarks))
    order = [int(v) for v in rng.permutation(plan.landmarks)]
    unseen, seen = order[: plan.unseen], order[plan.unseen :]
    counts = dict(zip(seen, long_tail(len(seen), plan.train, plan.fewest, plan.most), strict=True))
    subjects = [("train", k) for k in seen for _ in range(counts[k])]
    subjects += [("database", k) for k in unseen for _ in range(plan.unseen_photos)]
    weights = np.array([np.sqrt(counts.get(k, plan.unseen_photos)) for k in order])
    drawn = rng.choice(plan.landmarks, plan.queries, p=weights / weights.sum())
    subjects += [("query", order[int(k)]) for k in drawn]
    subjects += [("distractor", -1)] * plan.distractors + [("pool", -1)] * plan.non_landmark
    hard = rng.random(len(subjects)) < plan.difficulty.hard_queries
    shots = tuple(
        Shot(_image_id(plan, seed, n), k, n, split, bool(hard[n]) and split == "query")
        for n, (split, k) in enumerate(subjects)
    )
    pairs = min(plan.twins, plan.landmarks // 2)
    twins = tuple((labels[2 * k], labels[2 * k + 1]) for k in range(pairs))
    return City(blueprints, labels, tuple(names), frozenset(unseen), shots, twins)


def _words(name: str, number: int) -> str:
    return (
        name.split()[-1 if number % 3 == 0 else 0].upper()
        if number % 2
        else SIGNS[number % len(SIGNS)]
    )


def _image_id(plan: CityPlan, seed: int, number: int) -> str:
    """Name a photo so that nothing can be read from it, and no other plan names one the same."""
    key = f"{EDITION} {seed} {number} {plan!r}".encode()
    return hashlib.blake2b(key, digest_size=8).hexdigest()
