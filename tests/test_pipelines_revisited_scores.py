"""Runs of revisited datasets have mAP and mP@k of their whole rankings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from embed.whitening import load_whitening
from pipelines.answers.open_run import load_split_embeddings
from pipelines.datasets.dataset import Dataset
from pipelines.scores.evaluate import can_evaluate
from pipelines.scores.revisited import revisited_figures
from pipelines.sources.revisited.make import import_revisited
from pipelines.sources.revisited.truth import load_truth
from pipelines.stages.remove import remove_photos
from tests.datasets import cairn, make_recipe_file, options
from tests.journal import open_run
from tests.revisited import IMAGES, QUERIES, UNTRAINED, make_values, write_photos, write_truth
from tests.test_index_revisited import slow_figures


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with gnd_tiny.pkl and jpg/."""
    folder = tmp_path_factory.mktemp("source")
    write_truth(folder)
    write_photos(folder)
    return folder


@pytest.fixture(scope="module")
def scored(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return dataset and run: untrained, searched with whitening and query expansion."""
    folder = tmp_path_factory.mktemp("scored")
    data, run = folder / "data", folder / "run"
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    search = "[search]\nwhiten = 'pca'\nwhiten_dim = 6\nexpand_query = 2\naugment_database = 1\n"
    recipe = make_recipe_file(folder / "tiny.toml", UNTRAINED + search)
    end = cairn("submit", *options(data, run, recipe))
    assert end.status == 0, end.err
    return data, run


def test_nothing_is_trained_on_what_is_to_be_measured(
    scored: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe = make_recipe_file(tmp_path / "tiny.toml")
    end = cairn("submit", *options(scored[0], tmp_path / "run", recipe))
    assert end.status == 1
    assert "has 1 landmark" in end.err and "set train.epochs = 0" in end.err


def slow_run_figures(data: Path, run: Path, order: dict[str, list[str]]) -> dict[str, list[float]]:
    """Return map, mp@1, mp@5, mp@10 of each setup, of rankings given by ids."""
    truth = load_truth(data / "ground_truth.parquet")
    figures = {}
    for name, wanted, ignored in (
        ("easy", ("easy",), ("hard", "junk")),
        ("medium", ("easy", "hard"), ("junk",)),
        ("hard", ("hard",), ("easy", "junk")),
    ):
        rows = []
        for query_id, levels in truth.items():
            positives = {IMAGES.index(i) for level in wanted for i in levels[level]}
            junk = {IMAGES.index(i) for level in ignored for i in levels[level]}
            ranked = [IMAGES.index(i) for i in order[query_id]]
            if positives:
                rows.append(slow_figures(ranked, positives, junk, (1, 5, 10)))
        figures[name] = np.mean(rows, axis=0).tolist()
    return figures


def check_figures(figures: dict[str, Any], expected: dict[str, list[float]]) -> None:
    for name, values in expected.items():
        found = [figures[name][key] for key in ("map", "mp@1", "mp@5", "mp@10")]
        assert found == pytest.approx(values)
        assert figures[name]["queries"] == 2


def test_figures_are_of_the_run_s_whole_rankings(scored: tuple[Path, Path]) -> None:
    """The tiny recipe asks for more neighbours than there are: they are the whole ranking."""
    data, run = scored
    table = pq.read_table(run / "neighbors.parquet").to_pylist()
    order = {query_id: [""] * len(IMAGES) for query_id in QUERIES}
    for row in table:
        order[row["query_id"]][row["rank"]] = row["image_id"]
    figures = revisited_figures(run, Dataset(data))
    check_figures(figures, slow_run_figures(data, run, order))
    verified = pq.read_table(run / "verified.parquet").to_pylist()
    inliers = {(row["query_id"], row["image_id"]): row["inliers"] for row in verified}
    again = {
        query_id: sorted(ids, key=lambda i, q=query_id: -inliers.get((q, i), -1))  # type: ignore[misc]
        for query_id, ids in order.items()
    }
    check_figures(figures["reranked"], slow_run_figures(data, run, again))
    assert (figures["unread_images"], figures["unread_queries"]) == (0, 0)


def test_images_beyond_the_neighbours_are_ranked(source: Path, tmp_path: Path) -> None:
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", tmp_path / "data")
    few = "[search]\nneighbors = 1\nwhiten = 'pca'\nwhiten_dim = 4\n[rerank]\nmethod = 'none'\n"
    recipe = make_recipe_file(tmp_path / "tiny.toml", UNTRAINED + few)
    data, run = tmp_path / "data", tmp_path / "run"
    assert cairn("submit", *options(data, run, recipe)).status == 0
    whitening = load_whitening(run / "index/whitening.safetensors")
    queries = load_split_embeddings(run, "test")
    database = load_split_embeddings(run, "index")
    scores = whitening.apply(queries.vectors) @ whitening.apply(database.vectors).T
    order = {
        query_id: [database.ids[row] for row in np.argsort(-scores[place], kind="stable")]
        for place, query_id in enumerate(queries.ids)
    }
    figures = revisited_figures(run, Dataset(data))
    check_figures(figures, slow_run_figures(data, run, order))
    assert "reranked" not in figures
    remove_photos(open_run(run), [], [IMAGES[0], IMAGES[3]])  # what is removed takes no rank
    left = {
        query: [i for i in ids if i not in (IMAGES[0], IMAGES[3])] for query, ids in order.items()
    }
    figures = revisited_figures(run, Dataset(data))
    check_figures(figures, slow_run_figures(data, run, left))
    assert figures["unread_images"] == 0


def test_evaluate_needs_no_solution(scored: tuple[Path, Path]) -> None:
    data, run = scored
    assert can_evaluate(Dataset(data))
    end = cairn("evaluate", "--run", run, "--json")
    assert end.status == 0, end.err
    metrics = json.loads(end.out)
    assert set(metrics) == {"revisited", "seconds"}
    assert json.loads((run / "metrics.json").read_text()) == metrics
    out = cairn("evaluate", "--run", run).out.splitlines()
    assert out[0].split() == ["revisited,", "%", "mAP", "mP@1", "mP@5", "mP@10", "queries"]
    easy = metrics["revisited"]["easy"]
    assert out[1].split() == [
        "easy",
        *(f"{100 * easy[key]:.2f}" for key in ("map", "mp@1", "mp@5", "mp@10")),
        "2",
    ]
    assert [line.split("  ")[0] for line in out[2:]] == [
        *("medium", "hard", "easy, re-ranked", "medium, re-ranked", "hard, re-ranked"),
    ]


def test_unread_images_and_queries_are_never_found(source: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    for name in (f"{IMAGES[4]}.jpg", f"{QUERIES[0]}.png"):
        (data / "images" / name).unlink()
        (data / "images" / name).write_bytes(b"no image")
    recipe = make_recipe_file(tmp_path / "tiny.toml", UNTRAINED + "[rerank]\nmethod = 'none'\n")
    assert cairn("submit", *options(data, run, recipe)).status == 0
    figures = revisited_figures(run, Dataset(data))
    assert (figures["unread_images"], figures["unread_queries"]) == (1, 1)
    # Query 0 was not read, and the one easy image of query 1 was not, either.
    assert figures["easy"] == {"map": 0, "mp@1": 0, "mp@5": 0, "mp@10": 0, "queries": 2}
    assert figures["hard"]["queries"] == 2
    out = cairn("evaluate", "--run", run).out
    assert "1 images and 1 queries could not be read, and count as never found" in out


def test_a_solution_is_scored_beside_the_ground_truth(source: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    rows = [f"{query},{place},Public" for place, query in enumerate(QUERIES)]
    (data / "solution.csv").write_text("\n".join(["id,landmarks,Usage", *rows]) + "\n")
    recipe = make_recipe_file(tmp_path / "tiny.toml", UNTRAINED + "[rerank]\nmethod = 'none'\n")
    assert cairn("submit", *options(data, run, recipe)).status == 0
    assert {"gap", "steps", "revisited"} <= set(json.loads((run / "metrics.json").read_text()))
    assert "revisited, %" in cairn("evaluate", "--run", run).out


def test_a_run_that_does_not_fit_is_refused(
    scored: tuple[Path, Path], source: Path, tmp_path: Path
) -> None:
    data, run = scored
    with pytest.raises(FileNotFoundError, match="has not described the queries"):
        revisited_figures(tmp_path, Dataset(data))
    other = tmp_path / "fewer"
    values = make_values(imlist=IMAGES[:9])
    import_revisited(write_truth(tmp_path, values), source / "jpg", other)
    with pytest.raises(ValueError, match="searches other images than"):
        revisited_figures(run, Dataset(other))
    more = tmp_path / "more"
    values = make_values(qimlist=[*QUERIES[:2], IMAGES[0]])
    import_revisited(write_truth(tmp_path, values), source / "jpg", more)
    with pytest.raises(ValueError, match="has not described query 'all_souls_000001-query'"):
        revisited_figures(run, Dataset(more))
