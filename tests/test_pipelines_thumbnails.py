"""Thumbnails, which stand for photos that did not go along with a run."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.artifacts import hash_file
from pipelines.datasets.thumbnails import BOX, make_thumbnail


def test_a_thumbnail_is_upright_and_fits(tmp_path: Path) -> None:
    wide = np.zeros((90, 1000, 3), dtype=np.uint8)
    wide[:, :500] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(wide).save(tmp_path / "wide.jpg", exif=exif)
    found = make_thumbnail(tmp_path / "wide.jpg", 10**6)
    assert found.size == (90, 1000)
    assert found.sha256 == hash_file(tmp_path / "wide.jpg")
    with Image.open(io.BytesIO(found.jpeg)) as small:
        assert (small.height, small.info.get("exif")) == (BOX[1], None)
        assert np.asarray(small)[0].mean() > 250 > 5 > np.asarray(small)[-1].mean()
