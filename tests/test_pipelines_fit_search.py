"""What searches a database is the same of vectors in a file, and fitted on some of very many."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.mapped import find_map, store_blocks
from index.settings import SearchSettings
from pipelines.stages import fit_search as module
from pipelines.stages.fit_search import fit_search
from tests.clustered import draw_shard

COUNT, DIM = 600, 16
LABELS = np.random.default_rng(0).integers(0, 60, COUNT)


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    return draw_shard(0, COUNT, DIM)[0].reshape(COUNT, 1, DIM)


@pytest.mark.parametrize(
    "settings",
    [
        SearchSettings(),
        SearchSettings(whiten="within-class"),
        SearchSettings(whiten="pca", whiten_dim=8, augment_database=3),
    ],
)
def test_vectors_in_a_file_are_searched_as_those_in_memory(
    settings: SearchSettings, vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    stored = store_blocks([(slice(0, COUNT), vectors)], vectors.shape, np.float32, tmp_path)
    _, whole = fit_search(vectors, LABELS, settings)
    whitening, mapped = fit_search(stored, LABELS, settings, folder=tmp_path)
    assert (whitening is None) == (settings.whiten == "none")
    assert find_map(mapped.exact) is not None and find_map(whole.exact) is None
    np.testing.assert_array_equal(mapped.exact, whole.exact)


@pytest.mark.parametrize("whiten", ["within-class", "pca"])
def test_whitening_is_fitted_on_some_of_many(
    whiten: str, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SearchSettings.model_validate({"whiten": whiten, "whiten_dim": 0})
    whole, _ = fit_search(vectors, LABELS, settings)
    fitted = np.arange(COUNT) >= 50
    monkeypatch.setattr(module, "FITTED", 200 * DIM)
    drawn = module._draw_fitted(LABELS, DIM, settings, fitted)
    assert len(drawn) == 200 and (np.diff(drawn) > 0).all() and drawn.min() >= 50
    if whiten == "within-class":  # all photos of each landmark but the last
        complete = [
            np.isin(np.flatnonzero((label == LABELS) & fitted), drawn) for label in range(60)
        ]
        assert sum(each.any() and not each.all() for each in complete) <= 1
    some, _ = fit_search(vectors, LABELS, settings, fitted)
    again, _ = fit_search(vectors[drawn], LABELS[drawn], settings)
    assert whole is not None and some is not None and again is not None
    assert some.fingerprint == again.fingerprint != whole.fingerprint
