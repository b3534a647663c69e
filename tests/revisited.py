"""Write a tiny ground truth as revisited Oxford and Paris are published, and its photos."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets import view, write_photo

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
    """Pickle a ground truth."""
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


def changed(place: int, **values: Any) -> list[dict[str, Any]]:
    """Return TRUTH with changes to one query."""
    return [{**truth, **(values if at == place else {})} for at, truth in enumerate(TRUTH)]
