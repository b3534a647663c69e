"""The keys that order images, against the definition of SipHash in plain Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.selection.order import CHUNK, count_within, order_keys, rank_within

WORD = (1 << 64) - 1
# [order_keys(pa.chunked_array([[i]]), seed=1).item() for i in KEYS]
KEYS = {
    "image0": 5578269148196950220,
    "e10c7a1f82b43d56": 963724288223795019,
    "née-ø": 18142524099862591496,
}


def column(*ids: str) -> pa.ChunkedArray:
    return pa.chunked_array([list(ids)], pa.string())


def turn(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & WORD


def siphash(data: bytes, key: bytes) -> int:
    """Return SipHash-2-4. Source: Aumasson and Bernstein, SipHash, 2012, section 2."""
    k0, k1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    words = b"somepseudorandomlygeneratedbytes"
    v = [int.from_bytes(words[8 * i : 8 * i + 8], "big") ^ (k1 if i % 2 else k0) for i in range(4)]

    def mix(rounds: int) -> None:
        for _ in range(rounds):
            v[0], v[2] = (v[0] + v[1]) & WORD, (v[2] + v[3]) & WORD
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2], v[0] = (v[2] + v[1]) & WORD, (v[0] + v[3]) & WORD
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        mix(2)
        v[0] ^= word
    v[2] ^= 255
    mix(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def finish(value: int) -> int:
    """Return what pandas makes of a hash: the last step of SplitMix64."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & WORD
    return value ^ value >> 31


def test_keys_are_the_same_everywhere() -> None:
    keys = order_keys(column(*KEYS), seed=1)
    assert keys.dtype == np.uint64 and keys.tolist() == list(KEYS.values())


@given(st.text(max_size=40), st.integers(0, 10**16 - 1))
def test_keys_are_siphash_of_the_id_keyed_by_the_seed(image_id: str, seed: int) -> None:
    expected = finish(siphash(image_id.encode(), f"{seed:016d}".encode()))
    assert order_keys(column(image_id), seed).tolist() == [expected]


def test_keys_do_not_depend_on_chunks() -> None:
    ids = [f"image{number}" for number in range(CHUNK + 2)]
    whole = order_keys(column(*ids), 3)
    np.testing.assert_array_equal(order_keys(pa.chunked_array([ids[:5], [], ids[5:]]), 3), whole)
    assert not (order_keys(column(*ids), 4) == whole).any()
    assert len(order_keys(pa.chunked_array([], pa.string()), 0)) == 0


@pytest.mark.parametrize("seed", [-1, 10**16])
def test_a_seed_that_is_no_key_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed is {seed}, must be 0 to 9999999999999999"):
        order_keys(column("a"), seed)


def test_ranks_count_the_smaller_keys_of_the_class() -> None:
    codes, keys = np.array([1, 0, 1, 1, 0]), np.array([5, 9, 1, 7, 3], dtype=np.uint64)
    assert rank_within(codes, keys).tolist() == [1, 1, 0, 2, 0]
    assert count_within(np.array([], dtype=np.int64)).tolist() == []
