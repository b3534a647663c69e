"""Make a dataset folder with each kind of problem planted, for tests of its check.

Writes where it is told.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.datasets import write_table
from tests.images import encode, photo

SIZE = (120, 160)  # pixels, height and width of a photo
# Kind, id, table, other_id of all that is wrong with the dataset.
PROBLEMS = [
    ("missing", "gone", "train", ""),
    ("corrupt", "cut", "train", ""),
    ("corrupt", "page", "test", ""),
    ("tiny", "tiny", "train", ""),
    ("blank", "black", "non_landmark", ""),
    ("exact_duplicate", "copy0", "train", "a0"),
    ("near_duplicate", "half1", "train", "a1"),
    ("near_duplicate", "leak", "train", "t0"),
    ("near_duplicate", "right2", "train", "a2"),
    ("near_duplicate", "wrong2", "train", "a2"),
    ("across_split", "t0", "test", "leak"),
    ("mixed_labels", "a2", "train+index", "wrong2"),
    ("mixed_labels", "right2", "train", "wrong2"),
    ("mixed_labels", "wrong2", "train", "a2"),
]
TRAIN = {  # landmark by id
    **{f"a{number}": number for number in range(6)},
    **{"gone": 1, "cut": 1, "tiny": 1, "copy0": 0, "half1": 1, "leak": 1},
    **{"right2": 2, "wrong2": 3},
}
INDEX = {"a2": 2, "a3": 3}
TEST = ("t0", "t1", "page")
POOL = ("n0", "n1", "black")


def make_spoiled_dataset(folder: Path) -> Path:
    """Write the dataset; its images are a0 to a5, t0, t1, n0, n1 and what is made of them."""
    plain = [*(f"a{number}" for number in range(6)), "t0", "t1", "n0", "n1"]
    images = {
        name: encode(photo(*SIZE, seed), "JPEG", quality=95) for seed, name in enumerate(plain)
    }
    images["copy0"] = images["a0"]
    images["cut"] = images["a3"][: len(images["a3"]) // 2]
    images["page"] = b"<html>not found</html>"
    images["tiny"] = encode(photo(10, 15, 90), "JPEG")
    images["black"] = encode(np.full((*SIZE, 3), 7, dtype=np.uint8), "JPEG")
    images["half1"] = save_anew(plain.index("a1"), quality=50, scale=0.5)
    images["leak"] = save_anew(plain.index("t0"), quality=60)
    images["right2"] = save_anew(plain.index("a2"), quality=70, cut=0.04)
    images["wrong2"] = save_anew(plain.index("a2"), quality=60)
    (folder / "images").mkdir(parents=True)
    for image_id, data in images.items():
        (folder / "images" / f"{image_id}.jpg").write_bytes(data)
    write_tables(folder)
    return folder


def save_anew(seed: int, *, quality: int, scale: float = 1.0, cut: float = 0.0) -> bytes:
    """Return a photo as another JPEG, with a share of its sides cut off."""
    image = Image.fromarray(photo(*SIZE, seed))
    left, top = round(image.width * cut / 2), round(image.height * cut / 2)
    image = image.crop((left, top, image.width - left, image.height - top))
    size = (round(image.width * scale), round(image.height * scale))
    return encode(image.resize(size), "JPEG", quality=quality)


def write_tables(folder: Path, *, backwards: bool = False) -> None:
    """Write the tables, their rows in order or backwards."""
    step = -1 if backwards else 1
    for name, labels in (("train", TRAIN), ("index", INDEX)):
        rows = [f"{image_id},{landmark}" for image_id, landmark in labels.items()]
        write_table(folder / f"{name}.csv", "id,landmark_id", rows[::step])
    write_table(folder / "test.csv", "id", TEST[::step])
    write_table(folder / "solution.csv", "id,landmarks,Usage", [f"{i},,Public" for i in TEST])
    write_table(folder / "non_landmark.csv", "id", POOL[::step])
