"""Vectors like descriptors of photos of landmarks, drawn shard by shard.

Their covariance falls off as that of descriptors does: of cartons described by pretrained networks
44 directions would do for all of the variance (its participation ratio), here 60. Landmarks have
few photos mostly, and some have many.
"""

import numpy as np
from numpy.typing import NDArray

PER_LANDMARK = 20  # photos, in the mean


def draw_shard(
    number: int, count: int, dim: int, queries: int = 0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return vectors [count, dim] of landmarks of this shard, and queries [queries, dim] of them.

    The queries asked for do not change the vectors.
    """
    generator = np.random.default_rng((seed, number))
    scales = np.sqrt(np.exp(-np.arange(dim) / 30) + 0.002).astype(np.float32)
    centres = _normalise(
        generator.standard_normal((max(count // PER_LANDMARK, 1), dim), dtype=np.float32) * scales
    )
    weights = np.arange(1, len(centres) + 1) ** -0.7
    # The same for all shards: no direction stands for itself.
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    made = []
    for wanted in (count, queries):
        shown = generator.choice(len(centres), wanted, p=weights / weights.sum())
        noise = _normalise(generator.standard_normal((wanted, dim), dtype=np.float32) * scales)
        noise *= generator.uniform(0.4, 1.2, (wanted, 1)).astype(np.float32)
        made.append(_normalise((centres[shown] + noise) @ turn.astype(np.float32)))
    return made[0], made[1]


def _normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
