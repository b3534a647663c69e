"""A published ground truth and its photos become a dataset whose runs have mAP and mP@k."""

import io
import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from embed.errors import InputError
from embed.whitening import load_whitening
from pipelines.answers.open_run import load_split_embeddings
from pipelines.commands.revisited import revisited as command
from pipelines.datasets.dataset import Dataset
from pipelines.scores.evaluate import can_evaluate
from pipelines.scores.revisited import revisited_figures
from pipelines.sources.revisited.make import fit_box, import_revisited
from pipelines.sources.revisited.truth import GroundTruth, Query, load_truth, read_published
from tests.datasets import cairn, make_dataset, make_recipe_file, options, view, write_photo
from tests.test_index_revisited import make, slow_figures

# Two things, each easy in some photos and hard in others, and three photos of nothing asked about.
IMAGES = (
    *("all_souls_000001", "all_souls_000002", "all_souls_000003", "all_souls_000004"),
    *("radcliffe_000010", "radcliffe_000011", "radcliffe_000012", "oxford_000500"),
    *("oxford_000501", "oxford_000502"),
)
QUERIES = ("all_souls_000099", "radcliffe_000099", "oxford_000999")
TRUTH = [
    {"easy": [0, 1], "hard": [2], "junk": [3], "bbx": [4.5, 2.0, 90.4, 95.0]},
    {"easy": [4], "hard": [5, 6], "junk": [], "bbx": [0.0, 0.0, 96.0, 96.0]},
    {"easy": [], "hard": [], "junk": [7], "bbx": [10.0, 10.0, 50.0, 60.0]},
]
UNTRAINED = "[train]\nepochs = 0\n"


def make_values(**changes: Any) -> dict[str, Any]:
    """Return what a published file holds, arrays for lists, with changes."""
    truth = [{key: np.array(value) for key, value in query.items()} for query in TRUTH]
    return {"imlist": list(IMAGES), "qimlist": list(QUERIES), "gnd": truth, **changes}


def write_truth(folder: Path, values: Any = None, protocol: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gnd_tiny.pkl"
    path.write_bytes(pickle.dumps(make_values() if values is None else values, protocol))
    return path


def write_photos(folder: Path, images: Sequence[str] = (*IMAGES, *QUERIES)) -> Path:
    """Write views of textures: photos of one name show the same."""
    things = {"all_souls": 0, "radcliffe": 1}
    for place, name in enumerate(images):
        thing = things.get(name.rpartition("_")[0], 50 + place)
        write_photo(folder, name, view(thing, place))
    return (folder / "images").rename(folder / "jpg")


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


# Reading


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_published_file_is_read(protocol: int, tmp_path: Path) -> None:
    truth = read_published(write_truth(tmp_path, protocol=protocol))
    assert truth.images == IMAGES
    assert [query.image for query in truth.queries] == list(QUERIES)
    first = truth.queries[0]
    assert first.box == (4.5, 2.0, 90.4, 95.0)
    assert first.relevance.easy.tolist() == [0, 1]
    assert first.relevance.easy.dtype == np.int64
    assert truth.queries[1].relevance.junk.tolist() == []
    lists = read_published(write_truth(tmp_path, make_values(gnd=TRUTH), protocol))
    assert lists.queries[0].box == first.box
    assert lists.queries[0].relevance.hard.tolist() == first.relevance.hard.tolist()


def changed(place: int, **values: Any) -> list[dict[str, Any]]:
    """Return TRUTH with changes to one query."""
    return [{**truth, **(values if at == place else {})} for at, truth in enumerate(TRUTH)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "it holds a list, not a dict"),
        ({"imlist": [], "gnd": []}, "it has no qimlist, only imlist, gnd"),
        (make_values(imlist="all"), "imlist is a str, not a list"),
        (make_values(imlist=[1, 2]), "imlist holds a int, not the name of an image"),
        (make_values(imlist=["a", "a"]), "imlist names an image twice"),
        (make_values(imlist=[], qimlist=[], gnd=[]), "0 images and 0 queries"),
        (make_values(qimlist=["one"]), "qimlist names 1 queries, gnd 3"),
        (make_values(gnd=[1, 2, 3]), r"gnd\[0\]: it is a int, not a dict"),
        (make_values(gnd=changed(1, easy=[10])), r"gnd\[1\] names the images 5 to 10, but imlist"),
        (make_values(gnd=changed(1, junk=[-1])), r"gnd\[1\] names the images -1 to 6"),
        (make_values(gnd=changed(2, easy=[7])), r"gnd\[2\]: image 7 is easy and junk"),
        (make_values(gnd=changed(0, hard=[2, 2])), r"gnd\[0\]: hard names an image twice"),
        (make_values(gnd=changed(0, hard=[2.5])), r"gnd\[0\]: hard holds 2.5, no whole number"),
        (make_values(gnd=changed(0, hard=["2"])), r"gnd\[0\]: hard holds a str, not numbers"),
        (make_values(gnd=changed(0, bbx=[1, 2, 3])), "bbx has 3 numbers, not left, top"),
        (make_values(gnd=changed(0, bbx=[5, 5, 5, 9])), r"the box \(5.0, 5.0, 5.0, 9.0\) is not"),
        (make_values(gnd=changed(0, bbx=[0, 0, float("nan"), 9])), "is not left, top, right"),
        (
            make_values(gnd=[{"ok": [1]}] * 3),
            "it has no easy, only ok; this is the protocol before",
        ),
        (make_values(gnd=np.array([{}, {}, {}], dtype=object)), "an array of type 'O8'"),
    ],
)
def test_files_that_are_built_otherwise_are_refused(
    values: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_published(write_truth(tmp_path, values))
    assert "gnd_tiny.pkl is no ground truth of revisited Oxford or Paris" in str(caught.value)


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        """Take the file to make."""
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle."""
        return os.system, (f"touch {self.mark}",)


def test_a_file_that_would_run_something_is_refused_and_not_run(tmp_path: Path) -> None:
    for values in (Attack(tmp_path / "mark"), make_values(qimlist=[Attack(tmp_path / "mark")])):
        path = write_truth(tmp_path, values)
        with pytest.raises(ValueError, match="it names 'posix system'"):
            read_published(path)
    assert not (tmp_path / "mark").exists()
    with pytest.raises(FileNotFoundError, match="no ground truth at"):
        read_published(tmp_path / "absent.pkl")
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(ValueError, match="has 68157440 bytes, more than 67108864"):
        read_published(path)


# Making the dataset


def test_the_dataset_has_the_database_the_queries_and_the_truth(
    source: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    counts = import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    assert counts == {"queries": 3, "images": 10, "distractors": 0}
    dataset = Dataset(data)
    dataset.check()
    index = dataset.load_split("index")
    assert (index.ids, dataset.load_split("test").ids) == (IMAGES, QUERIES)
    named = [dataset.names[label] for label in index.landmark_ids.tolist()]
    assert named == ["all_souls"] * 4 + ["radcliffe"] * 3 + ["oxford"] * 3
    train = dataset.load_split("train")
    assert {dataset.names[label] for label in train.landmark_ids.tolist()} == {"not labelled"}
    assert os.path.samefile(
        data / "images/all_souls_000001.jpg", source / "jpg/all_souls_000001.jpg"
    )
    truth = load_truth(data / "ground_truth.parquet")
    assert truth["all_souls_000099"] == {
        "easy": ["all_souls_000001", "all_souls_000002"],
        "hard": ["all_souls_000003"],
        "junk": ["all_souls_000004"],
    }
    assert truth["oxford_000999"] == {"easy": [], "hard": [], "junk": ["oxford_000500"]}
    before = {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data)
    assert {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()} == before


def test_queries_are_cropped_without_loss(source: Path, tmp_path: Path) -> None:
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", tmp_path / "data")
    path = Dataset(tmp_path / "data").locate("all_souls_000099")
    assert isinstance(path, Path)
    crop = np.asarray(Image.open(path))
    whole = np.asarray(Image.open(source / "jpg/all_souls_000099.jpg"))
    # Python rounds 4.5 to the even 4, as Pillow's crop does.
    np.testing.assert_array_equal(crop, whole[2:95, 4:90])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 9.6, 20.0), (0, 0, 10, 20)),
        ((0.5, 1.5, 8.0, 9.0), (0, 2, 8, 9)),
        ((-3.0, 2.0, 500.0, 600.0), (0, 2, 30, 20)),
    ],
)
def test_boxes_are_cut_to_the_image(box: Any, expected: tuple[int, ...]) -> None:
    assert fit_box(box, (30, 20)) == expected


@pytest.mark.parametrize("box", [(30.0, 0.0, 40.0, 20.0), (-9.0, 0.0, -1.0, 5.0), (1, 1, 1.4, 9)])
def test_a_box_outside_of_the_image_is_refused(box: Any) -> None:
    with pytest.raises(ValueError, match="is outside of an image of 30 x 20 pixels"):
        fit_box(box, (30, 20))


def test_a_turned_query_is_cropped_as_stored_and_turned_upright(
    source: Path, tmp_path: Path
) -> None:
    """The published code does not read EXIF, so boxes are of the stored pixels."""
    pixels = np.arange(96 * 96 * 3, dtype=np.uint32).reshape(96, 96, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    photos = write_photos(tmp_path, (*IMAGES, *QUERIES[1:]))
    (photos / "all_souls_000099.png").write_bytes(stream.getvalue())
    import_revisited(source / "gnd_tiny.pkl", photos, tmp_path / "data")
    crop = Image.open(tmp_path / "data/images/all_souls_000099.png")
    assert 0x0112 not in crop.getexif()
    np.testing.assert_array_equal(np.asarray(crop), np.rot90(pixels[2:95, 4:90], -1))


def test_a_query_whose_photo_is_in_the_database_has_an_id_of_its_own(
    source: Path, tmp_path: Path
) -> None:
    values = make_values(qimlist=[IMAGES[0], IMAGES[0], QUERIES[2]])
    path = write_truth(tmp_path, values)
    import_revisited(path, source / "jpg", tmp_path / "data")
    dataset = Dataset(tmp_path / "data")
    dataset.check()
    names = (f"{IMAGES[0]}-query", f"{IMAGES[0]}-query-query", QUERIES[2])
    assert dataset.load_split("test").ids == names
    assert list(load_truth(tmp_path / "data/ground_truth.parquet")) == list(names)
    assert len({Path(str(dataset.locate(name))).read_bytes() for name in names}) == 3


def test_photos_may_lie_in_folders_as_the_archives_have_them(source: Path, tmp_path: Path) -> None:
    for path in (source / "jpg").iterdir():
        folder = tmp_path / "archive" / path.stem.rpartition("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        os.link(path, folder / path.name)
    values = make_values(imlist=[f"{name}.jpg" for name in IMAGES])
    import_revisited(write_truth(tmp_path, values), tmp_path / "archive", tmp_path / "data")
    assert Dataset(tmp_path / "data").load_split("index").ids == IMAGES
    os.link(source / "jpg/oxford_000500.jpg", tmp_path / "archive/oxford_000500.jpg")
    with pytest.raises(ValueError, match=r"'oxford_000500.jpg' may be .*; keep one of them"):
        import_revisited(write_truth(tmp_path, values), tmp_path / "archive", tmp_path / "data")


def test_distractors_are_searched_too(source: Path, tmp_path: Path) -> None:
    for name in ("0a/x.jpg", "0b/x.jpg", os.fsdecode(b"0b/\xe9.jpg")):  # the last is left out
        (tmp_path / "r1m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r1m" / name).write_bytes((source / "jpg/oxford_000500.jpg").read_bytes())
    truth, photos = source / "gnd_tiny.pkl", source / "jpg"
    counts = import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "r1m")
    assert counts["distractors"] == 2
    dataset = Dataset(tmp_path / "data")
    index = dataset.load_split("index")
    assert index.ids == (*IMAGES, "0a-x", "0b-x")
    assert dataset.names[int(index.landmark_ids[-1])] == "distractor"
    assert dataset.load_split("train").ids == IMAGES
    (tmp_path / "r1m/0a-x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="two images would be called '0a-x'"):
        import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "r1m")
    with pytest.raises(FileNotFoundError, match="no folder of distractors at"):
        import_revisited(truth, photos, tmp_path / "data", distractors=tmp_path / "absent")


def test_what_is_missing_or_not_ours_is_refused(source: Path, tmp_path: Path) -> None:
    truth = source / "gnd_tiny.pkl"
    some = write_photos(tmp_path, IMAGES[1:])
    with pytest.raises(FileNotFoundError, match=r"4 of 13 images are not in .*'all_souls_000001'"):
        import_revisited(truth, some, tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="no folder of photos at"):
        import_revisited(truth, tmp_path / "absent", tmp_path / "data")
    assert not (tmp_path / "data").exists()
    import_revisited(truth, source / "jpg", tmp_path / "data")
    other = write_truth(tmp_path, make_values(gnd=changed(0, junk=[])))
    with pytest.raises(InputError, match="or part of one, made with revisited"):
        import_revisited(other, source / "jpg", tmp_path / "data")
    broken = write_photos(tmp_path / "broken")
    (broken / f"{QUERIES[0]}.jpg").write_bytes(b"\xff\xd8\xff no photo")
    with pytest.raises(ValueError, match="query 'all_souls_000099' cannot be cropped from"):
        import_revisited(truth, broken, tmp_path / "other")
    assert not (tmp_path / "other/train.csv").exists()


def test_the_train_table_of_a_model_is_taken_over(source: Path, tmp_path: Path) -> None:
    """Its run's model is used as it is, and none of its training images is asked for."""
    trained = make_dataset(tmp_path / "trained", landmarks=3)
    recipe = make_recipe_file(tmp_path / "tiny.toml", "[train]\nepochs = 1\n")
    end = cairn("train", *options(trained, tmp_path / "model-run", recipe))
    assert end.status == 0, end.err
    data, run = tmp_path / "data", tmp_path / "run"
    import_revisited(source / "gnd_tiny.pkl", source / "jpg", data, training=trained)
    assert (data / "train.csv").read_bytes() == (trained / "train.csv").read_bytes()
    dataset = Dataset(data)
    assert set(dataset.load_split("index").landmark_ids.tolist()) == {3, 4, 5}
    assert {dataset.names[0], dataset.names[3]} == {"Thing 0", "all_souls"}
    run.mkdir()
    (tmp_path / "model-run/model").rename(run / "model")
    before = (run / "model/manifest.json").read_bytes()
    end = cairn("submit", *options(data, run, recipe))
    assert end.status == 0, end.err
    assert (run / "model/manifest.json").read_bytes() == before
    assert cairn("evaluate", "--run", run).status == 0


# Scoring a run


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


def test_a_query_in_the_truth_needs_a_box_with_area() -> None:
    with pytest.raises(ValueError, match="names the images 3 to 3, but imlist has 0 to 0"):
        GroundTruth(("a",), (Query("b", (0, 0, 1, 1), make(easy=[3])),))


def test_the_command_says_what_it_did(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command)
    arguments = [str(source / "gnd_tiny.pkl"), "--images", str(source / "jpg")]
    end = CliRunner().invoke(app, arguments)
    assert end.exit_code == 0, end.output
    assert end.stdout == "data/tiny: 3 queries, 10 images, 0 distractors\n"
