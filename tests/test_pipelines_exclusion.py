"""What is excluded from the searches of queries, listed in pieces that fit the memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.answers import exclusion
from pipelines.answers.exclusion import Exclusion
from tests.databases import make_database


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(0, 12), st.integers(1, 40), st.integers(0, 10**6))
def test_the_rows_of_each_query_are_its_own_and_those_of_its_landmark(
    count: int, queries: int, most: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    database = make_database(np.eye(count, dtype=np.float32), map(str, range(count)), labels)
    ids = [str(number) for number in rng.integers(0, 2 * count, queries)]
    own = Exclusion.own_rows(ids, database)
    assert own.rows.tolist() == [int(i) if int(i) < count else -1 for i in ids]
    excluded = Exclusion(own.rows, rng.integers(-1, 6, queries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exclusion, "MOST_ROWS", most)
        pieces = list(excluded.list_rows(database))
    seen = 0
    for places, rows in pieces:
        assert places.start == seen
        for query, listed in enumerate(rows, places.start):
            landmark = excluded.landmarks[query]
            wanted = set(np.flatnonzero((labels == landmark) & (landmark >= 0)).tolist())
            wanted |= {int(excluded.rows[query])}
            assert set(listed.tolist()) - {-1} == wanted - {-1}
        assert rows.size <= most or len(rows) == 1
        seen += len(rows)
    assert seen == queries


def test_nothing_excluded_is_one_piece_without_rows() -> None:
    database = make_database(np.eye(3, dtype=np.float32), "abc", np.array([1, 1, 2]))
    ((places, rows),) = Exclusion.none(5).list_rows(database)
    assert (places.start, rows.shape) == (0, (5, 0))
