"""Time decode_image with min_side on JPEGs against Pillow, OpenCV and simplejpeg.

Times are of the processor, which other work changes little. Run as
`python -m tests.benchmarks.bench_decode`. Writes one file, in a temporary folder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg, decode_jpeg_header

from embed.decode import decode_image
from tests.images import encode, photo

SIZES = ((480, 640), (1200, 1600), (3000, 4000))  # (height, width)
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def decode_fully_then_resize(path: Path) -> object:
    """Decode all pixels with Pillow, then shrink to a shorter side of 256 pixels."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = 256 / min(rgb.size)
    size = (round(rgb.width * scale), round(rgb.height * scale))
    return np.array(rgb.resize(size, Image.Resampling.BILINEAR))


def draft(path: Path) -> object:
    """Decode with Pillow at the least scale that keeps a shorter side of 256 pixels."""
    with Image.open(path) as image:
        image.draft("RGB", (256, 256))
        return np.array(image)


def decode_plainly(path: Path) -> object:
    """Decode with simplejpeg at the least power of two that keeps a shorter side of 256 pixels."""
    data = path.read_bytes()
    height, width, _, _ = decode_jpeg_header(data)
    factor = next(by for by in (8, 4, 2, 1) if by <= min(height, width) // 256)
    return decode_jpeg(data, min_height=-(-height // factor), min_width=-(-width // factor))


def reduce(path: Path) -> object:
    """Decode with OpenCV, likewise."""
    with Image.open(path) as image:
        factor = min(image.size) // 256
    return cv2.imread(str(path), next(flag for by, flag in REDUCED.items() if by <= factor))


def run(rounds: int = 15) -> str:
    """Time each way once a round, in turn, and report medians in ms and ratios to ours."""
    cv2.setNumThreads(1)
    ways: dict[str, Callable[[Path], object]] = {
        "decode_image(min_side=256)": lambda path: decode_image(path, min_side=256),
        "simplejpeg, scaled": decode_plainly,
        "OpenCV, reduced": reduce,
        "Pillow, draft": draft,
        "decode_image, full size": decode_image,
        "Pillow, full size, resize": decode_fully_then_resize,
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        for height, width in SIZES:
            path.write_bytes(encode(photo(height, width), "JPEG", quality=90))
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, way in ways.items():
                    start = time.thread_time()
                    way(path)
                    times[name].append(time.thread_time() - start)
            size = path.stat().st_size / 1e6
            lines.append(f"{width} x {height} JPEG, {size:.1f} MB, {rounds} rounds")
            medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
            ours = next(iter(medians.values()))
            lines += [
                f"  {name:28} {ms:7.1f} ms  {ms / ours:5.2f}x" for name, ms in medians.items()
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(run())
