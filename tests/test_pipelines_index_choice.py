"""The index that a run is searched by: what the stage chooses, tells and refuses."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from index.base import INDEX
from index.plan import EXACT
from pipelines.answers.database import Database, load_database
from pipelines.artifacts import load_manifest
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file

PLAIN = "[rerank]\nmethod = 'none'\n[decide]\npolicy = 'knn-sum'\n"


@pytest.fixture
def tiny(finished: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of a finished run."""
    run = shutil.copytree(finished.run, tmp_path / "run")
    recipe = make_recipe_file(tmp_path / "tiny.toml", PLAIN)
    return Tiny(finished.data, recipe, run)


def open_database(run: Path) -> Database:
    manifest = load_manifest(run / "index")
    assert manifest is not None
    return load_database(run, manifest.model["fingerprint"])


def index(tiny: Tiny) -> None:
    end = cairn("index", *tiny.options)
    assert end.status == 0, end.err


def test_a_small_database_is_compared_exactly_and_says_so(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    index(tiny)
    assert f"index {EXACT}: " in caplog.text and "fewer than 50,000 vectors" in caplog.text
    manifest = load_manifest(tiny.run / "index")
    assert manifest is not None and manifest.details["index"]["factory"] == EXACT
    assert not (tiny.run / "index" / INDEX).exists()


def test_a_factory_is_obeyed_and_found_again(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    index(tiny)
    exact = open_database(tiny.run).images
    make_recipe_file(tiny.recipe, PLAIN + "[search]\nfactory = 'SQ8'\nrecall = 0.9\n")
    index(tiny)
    assert "index SQ8, refine 1: finds " in caplog.text
    images = open_database(tiny.run).images
    assert images.base.coarse is not None and images.base.parameters == {"refine": 1}
    every = np.arange(len(images))
    found, wanted = (each.search(exact.vectors(every), 1) for each in (images, exact))
    np.testing.assert_array_equal(found.rows, wanted.rows)
    make_recipe_file(tiny.recipe, PLAIN)
    index(tiny)
    assert not (tiny.run / "index" / INDEX).exists()  # of the other plan


def test_how_many_neighbours_a_query_gets_makes_no_exact_index_anew(tiny: Tiny) -> None:
    index(tiny)
    before = load_manifest(tiny.run / "index")
    for changed, anew in (
        ("neighbors = 3\nexpand_query = 1\nalpha = 2.0\n", False),
        ("neighbors = 3\nfactory = 'SQ8'\nrecall = 0.9\n", True),
        ("neighbors = 12\nfactory = 'SQ8'\nrecall = 0.9\n", True),
    ):
        make_recipe_file(tiny.recipe, PLAIN + f"[search]\n{changed}")
        index(tiny)
        after = load_manifest(tiny.run / "index")
        assert before is not None and after is not None
        assert (after.key != before.key) == anew
        assert (after.seconds != before.seconds) == anew  # it was made, or it was not
        before = after
    assert before is not None and before.details["index"]["neighbors"] == 12


def test_memory_that_is_too_little_leaves_the_index_that_there_is(tiny: Tiny) -> None:
    index(tiny)
    before = load_manifest(tiny.run / "index")
    end = cairn("index", *tiny.options, "--memory", "0.1kB")
    assert end.status == 1 and "search.memory = '0.1kB'" in end.err and "--memory" in end.err
    assert load_manifest(tiny.run / "index") == before
    index(tiny)


def test_regions_and_whitening_are_searched_by_a_factory_too(tiny: Tiny) -> None:
    settings = "[embed.regions]\ngrids = [2]\n[search]\nwhiten = 'pca'\nfactory = 'SQ8'\n"
    make_recipe_file(tiny.recipe, PLAIN + settings + "recall = 0.9\n")
    index(tiny)
    images = open_database(tiny.run).images
    assert images.per_image == 5 and images.base.coarse.ntotal == 5 * len(images)
    found = images.search(images.vectors(np.arange(3)), 1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--memory", "4 bananas"), "search.memory = '4 bananas': expected an amount of memory"),
        (("--recall", "1.5"), "search.recall = 1.5: expected 1.0 or less"),
    ],
)
def test_an_option_without_sense_is_told(tiny: Tiny, options: tuple[str, ...], words: str) -> None:
    run = cairn("index", *tiny.options, *options)
    assert run.status == 1 and words in run.err


def test_a_factory_that_faiss_does_not_know_is_told(tiny: Tiny) -> None:
    make_recipe_file(tiny.recipe, PLAIN + "[search]\nfactory = 'bananas'\n")
    run = cairn("index", *tiny.options)
    assert run.status == 1 and "search.factory = 'bananas': FAISS cannot make it" in run.err
