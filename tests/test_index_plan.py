"""Which index is chosen: what it finds, what it takes, the same bytes each time, and refusals."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.errors import InputError
from embed.mapped import store_blocks
from index import plan
from index.base import INDEX, VECTORS, BaseIndex
from index.kinds import count_cost, describe, list_kinds, list_settings, list_values
from index.plan import EXACT, Trial, build_coarse, measure_bytes, plan_index, tune, wilson_interval
from index.settings import SearchSettings
from tests.clustered import draw_shard

COUNT, DIM = 3000, 64


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    return draw_shard(0, COUNT, DIM)[0]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so few vectors be enough for an index that is not exact."""
    monkeypatch.setattr(plan, "EXACT_BELOW", 1000)


def true_recall(index: BaseIndex, vectors: NDArray[np.float32]) -> float:
    """Compare what an index finds with a full sort, for queries that it does not hold."""
    queries = draw_shard(0, COUNT, DIM, queries=200)[1]
    nearest = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found = index.search(queries, 10).rows
    return float(np.mean([np.isin(*each).mean() for each in zip(found, nearest, strict=True)]))


def test_few_vectors_are_compared_exactly(vectors: NDArray[np.float32]) -> None:
    index, report = plan_index(vectors, SearchSettings())
    assert index.coarse is None and index.exact is vectors
    assert (report.factory, report.recall, report.bytes) == (EXACT, 1.0, vectors.nbytes)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("recall", "memory"), [(0.9, "4GB"), (0.99, "300kB"), (0.95, "150 kB")])
def test_what_is_chosen_finds_enough_in_the_memory(
    vectors: NDArray[np.float32], recall: float, memory: str
) -> None:
    settings = SearchSettings(recall=recall, memory=memory)
    index, report = plan_index(vectors, settings)
    assert index.coarse is not None and index.exact.dtype == np.float16
    assert report.bytes == measure_bytes(index.coarse) <= settings.memory_bytes
    assert recall <= report.recall and report.recall_low < report.recall <= report.recall_high
    assert true_recall(index, vectors) >= recall - 0.02
    assert report.factory in str(report) and report.parameters == index.parameters


def test_what_is_chosen_finds_enough_of_as_many_neighbours_as_are_asked_for(
    vectors: NDArray[np.float32],
) -> None:
    settings = SearchSettings(factory="IVF32,Flat", recall=0.95)
    few, short = plan_index(vectors, settings)
    many, report = plan_index(vectors, settings, neighbors=100)
    trial = Trial.draw(vectors, 300, 100)
    assert trial.measure(few) < 0.9 < 0.94 < trial.measure(many)
    assert report.neighbors == 100 and report.recall_of_neighbors >= 0.95
    assert report.recall >= short.recall >= 0.95
    assert f"{report.recall_of_neighbors:.4f} of the 100 nearest" in str(report)
    assert short.neighbors == 10 and "of the 100" not in str(short)
    assert plan_index(vectors, settings, neighbors=10)[1].parameters == short.parameters


def test_vectors_in_a_file_end_in_the_same_index(
    vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    mapped = store_blocks([(slice(0, COUNT), vectors)], vectors.shape, np.float32, tmp_path)
    settings = SearchSettings(factory="PCAR32,IVF16,PQ16x4fs", recall=0.9)
    made = []
    for folder, given in ((None, vectors), (tmp_path, mapped)):
        index, _ = plan_index(given, settings, folder=folder)
        assert isinstance(index.exact, np.memmap) == (folder is not None)
        index.save(tmp_path)
        made.append([(tmp_path / name).read_bytes() for name in (VECTORS, INDEX)])
    assert made[0] == made[1]


@pytest.mark.usefixtures("large")
def test_recall_1_compares_all(vectors: NDArray[np.float32]) -> None:
    assert plan_index(vectors, SearchSettings(recall=1.0))[1].factory == EXACT


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("recall", "memory", "words"),
    [
        (0.99, "10kB", "no index is that small; allow 768 kB of memory"),
        (1.0, "60kB", "is out of reach for 3,000 vectors of 64 numbers: to find all .* 768 kB"),
    ],
)
def test_what_is_out_of_reach_says_what_is_not(
    vectors: NDArray[np.float32], recall: float, memory: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        plan_index(vectors, SearchSettings(recall=recall, memory=memory))


@pytest.mark.usefixtures("large")
def test_a_recall_that_no_kind_reaches_in_the_memory_names_the_nearest(
    vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "list_kinds", lambda count, dim: ["PQ8x4fs,Refine(PQ8x4)"])
    with pytest.raises(InputError, match=r"ask for a recall of 0\.\d+, or allow"):
        plan_index(vectors, SearchSettings(recall=0.99, memory="300kB"))
    index, report = plan_index(vectors, SearchSettings(recall=0.99))
    assert index.coarse is None and "no other index finds 0.99" in report.why


@pytest.mark.parametrize(
    "factory",
    ["HNSW16", "IVF16,Flat", "IVF16,PQ16x4fs", "SQ8", "PQ16x4", "PCAR32,HNSW16_SQ8", "Flat"],
)
def test_any_factory_that_faiss_knows_can_be_given(
    vectors: NDArray[np.float32], factory: str
) -> None:
    index, report = plan_index(vectors, SearchSettings(factory=factory, recall=0.9))
    assert report.factory == (EXACT if factory == "Flat" else factory)
    assert true_recall(index, vectors) >= 0.88


@pytest.mark.parametrize("factory", ["bananas", "PQ7x4fs", "IVF5000,Flat", "IDMap,Flat", "PQ"])
def test_a_factory_that_faiss_refuses_is_told(vectors: NDArray[np.float32], factory: str) -> None:
    with pytest.raises(InputError, match=rf"search\.factory = '{factory}'.*leave it empty"):
        plan_index(vectors, SearchSettings(factory=factory))


def test_a_factory_that_is_too_large_or_finds_too_little_says_so(
    vectors: NDArray[np.float32],
) -> None:
    with pytest.raises(InputError, match=r"takes 1\.2 MB; search\.memory is 100kB"):
        plan_index(vectors, SearchSettings(factory="HNSW16", memory="100kB"))
    with pytest.raises(InputError, match=r"out of reach.*ask for a recall of 0\.\d"):
        plan_index(vectors, SearchSettings(factory="PQ8x4fs,Refine(PQ8x4)", recall=0.999))


@pytest.mark.parametrize(
    ("text", "words"),
    [("4 bananas", "amount of memory"), ("0GB", "amount of memory"), ("-1GB", "amount of memory")],
)
def test_memory_is_an_amount(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SearchSettings(memory=text)


def test_the_rarest_of_kinds_can_be_built_and_tuned(vectors: NDArray[np.float32]) -> None:
    trial = Trial.draw(vectors, 100)
    for kind in list_kinds(COUNT, DIM):
        coarse = build_coarse(vectors, kind)
        index, recall = tune(BaseIndex(vectors, coarse), [trial], 0.9)
        assert recall >= 0.9, kind
        assert recall == trial.measure(index)


def test_tuning_takes_the_cheapest_that_is_enough(vectors: NDArray[np.float32]) -> None:
    trial = Trial.draw(vectors, 100)
    index = BaseIndex(vectors, build_coarse(vectors, "IVF32,PQ32x4fs,Refine(SQ8)"))
    tuned, recall = tune(index, [trial], 0.95)
    shape = describe(index.coarse)
    cost = count_cost(shape, tuned.parameters, COUNT, DIM, trial.k)
    for setting in list_settings(list_values(shape, COUNT, trial.k + 1)):
        if count_cost(shape, setting, COUNT, DIM, trial.k) < cost:
            cheaper = BaseIndex(vectors, index.coarse, setting)
            assert trial.measure(cheaper, surely=True) < 0.95
    assert recall >= 0.95


def test_a_query_does_not_count_as_its_own_neighbour() -> None:
    vectors = np.repeat(np.eye(20, dtype=np.float32), 3, axis=0)
    trial = Trial.draw(vectors, 60)
    assert trial.k == 10
    found = trial.find(BaseIndex(vectors))
    np.testing.assert_array_equal((found == 1).sum(axis=1), 2)  # its two copies


PLAN = """
import hashlib, sys
from pathlib import Path
import numpy as np
from index import plan
from index.settings import SearchSettings
from tests.clustered import draw_shard
plan.EXACT_BELOW = 1000
folder = Path(sys.argv[1])
index, report = plan.plan_index(draw_shard(0, 3000, 64)[0], SearchSettings(recall=0.95))
names = index.save(folder)
print(report.factory, dict(report.parameters), report.recall,
      *(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names))
"""


def test_the_same_vectors_end_in_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    made = [
        subprocess.run(
            [sys.executable, "-c", PLAN, str(tmp_path / threads)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2", "3")
    ]
    assert len(set(made)) == 1


def test_a_compressed_index_is_saved_and_loaded_as_it_was(
    vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    index, _ = plan_index(vectors, SearchSettings(factory="PCAR32,PQ16x4fs,Refine(SQ8)"))
    assert index.save(tmp_path) == [VECTORS, INDEX]
    loaded = BaseIndex.load(tmp_path / VECTORS, tmp_path / INDEX, index.parameters)
    queries = draw_shard(0, COUNT, DIM, queries=50)[1]
    one, other = index.search(queries, 20), loaded.search(queries, 20)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)
    content = bytearray((tmp_path / INDEX).read_bytes())
    (tmp_path / INDEX).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"index\.faiss is no index"):
        BaseIndex.load(tmp_path / VECTORS, tmp_path / INDEX, {})


def test_too_few_candidates_are_made_up_by_comparing_all(vectors: NDArray[np.float32]) -> None:
    coarse = build_coarse(vectors, "IVF64,Flat")
    few = BaseIndex(vectors, coarse, {"nprobe": 1})
    queries = draw_shard(0, COUNT, DIM, queries=20)[1]
    found, exact = few.search(queries, 400), BaseIndex(vectors).search(queries, 400)
    assert (found.rows >= 0).all()
    np.testing.assert_array_equal(found.rows, exact.rows)
    np.testing.assert_array_equal(found.scores, exact.scores)


def test_the_interval_holds_the_share() -> None:
    assert wilson_interval(1.0, 50)[1] == pytest.approx(1.0)
    low, high = wilson_interval(0.5, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
