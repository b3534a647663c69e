"""Time decode_image with min_side on a 12 megapixel JPEG against full decoding and OpenCV.

Run as `python -m tests.benchmarks.bench_decode`. Writes one file, in a temporary folder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from embed.decode import decode_image
from tests.images import encode, photo


def decode_fully_then_resize(path: Path) -> object:
    """Decode all pixels with Pillow, then shrink to a shorter side of 256 pixels."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = 256 / min(rgb.size)
    size = (round(rgb.width * scale), round(rgb.height * scale))
    return np.array(rgb.resize(size, Image.Resampling.BILINEAR))


def run(rounds: int = 15) -> str:
    """Time each way once a round, in turn, and report medians in ms and ratios to ours."""
    cv2.setNumThreads(1)
    ways: dict[str, Callable[[Path], object]] = {
        "decode_image(min_side=256)": lambda path: decode_image(path, min_side=256),
        "decode_image, full size": decode_image,
        "Pillow, full size, resize": decode_fully_then_resize,
        "cv2.IMREAD_REDUCED_COLOR_8": lambda path: cv2.imread(
            str(path), cv2.IMREAD_REDUCED_COLOR_8
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(encode(photo(3000, 4000), "JPEG", quality=90))
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way(path)
                times[name].append(time.perf_counter() - start)
        lines = [f"4000 x 3000 JPEG, {path.stat().st_size / 1e6:.1f} MB, {rounds} rounds"]
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ours = medians["decode_image(min_side=256)"]
    lines += [f"{name:28} {ms:7.1f} ms  {ms / ours:5.2f}x" for name, ms in medians.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())
