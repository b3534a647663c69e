"""A published ground truth is read, and whatever else a pickle may hold is refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.sources.revisited.truth import GroundTruth, Query, read_published
from tests.revisited import IMAGES, QUERIES, TRUTH, changed, make_values, write_truth
from tests.test_index_revisited import make


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


def test_a_query_in_the_truth_needs_a_box_with_area() -> None:
    with pytest.raises(ValueError, match="names the images 3 to 3, but imlist has 0 to 0"):
        GroundTruth(("a",), (Query("b", (0, 0, 1, 1), make(easy=[3])),))
