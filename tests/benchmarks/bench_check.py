"""Measure what `cairn data check` takes for the same photo, and how long it looks for pairs.

Run as `python -m tests.benchmarks.bench_check [DATA...]`, data/demo if none. Writes
temporary files.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
from PIL import Image, ImageEnhance

from embed.decode import decode_image
from pipelines.datasets.checking.duplicates import MAX_DISTANCE, MIN_SIMILARITY, compare
from pipelines.datasets.checking.fingerprint import SIDE, Fingerprint, take_fingerprint
from pipelines.datasets.checking.hash_pairs import Hashes, find_close
from pipelines.datasets.dataset import SPLITS, Dataset
from tests.images import encode

SAMPLE = 300  # photos that are changed
Change = Callable[[Image.Image], Image.Image]


def cut(share: float) -> Change:
    """Return a change that cuts a share of width and height off, half of it on each side."""

    def change(photo: Image.Image) -> Image.Image:
        width, height = photo.size
        left, top = round(width * share / 2), round(height * share / 2)
        return photo.crop((left, top, width - left, height - top))

    return change


def shrink(photo: Image.Image) -> Image.Image:
    """Halve both sides."""
    return photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.LANCZOS)


CHANGES: dict[str, tuple[Change, int]] = {  # and the JPEG quality it is saved at
    "saved at quality 50": (lambda photo: photo, 50),
    "saved at quality 20": (lambda photo: photo, 20),
    "half the size": (shrink, 90),
    "5 % cut off": (cut(0.05), 90),
    "5 % cut off, half the size, quality 50": (lambda photo: shrink(cut(0.05)(photo)), 50),
    "10 % cut off": (cut(0.1), 90),
    "turned by 2 degrees": (lambda photo: photo.rotate(2, Image.Resampling.BICUBIC), 90),
    "30 % brighter": (lambda photo: ImageEnhance.Brightness(photo).enhance(1.3), 90),
    "grey": (lambda photo: photo.convert("L").convert("RGB"), 90),
    "mirrored": (lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 90),
}


def fingerprint(photo: Image.Image, quality: int) -> Fingerprint:
    """Save a photo and take its fingerprint."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(encode(photo, "JPEG", quality=quality))
        file.flush()
        return take_fingerprint(Path(file.name), 50_000_000)


def judge(one: Fingerprint, other: Fingerprint) -> tuple[bool, bool]:
    """Return whether the hashes of two images are close, and whether they are duplicates."""
    assert one.phash is not None and other.phash is not None
    if (one.phash ^ other.phash).bit_count() > MAX_DISTANCE:
        return False, False
    return True, compare(_picture(one), _picture(other)) >= MIN_SIMILARITY


def _picture(image: Fingerprint) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    assert image.thumbnail is not None
    return np.frombuffer(image.thumbnail, dtype=np.uint8).reshape(SIDE, SIDE)


def measure_duplicates(data: Path) -> str:
    """Report which changed photos are found as duplicates, and which photos of other things."""
    dataset = Dataset(data)
    ids = {i for s in SPLITS if dataset.find_table(s) for i in dataset.load_split(s).ids}
    files = [dataset.locate(image_id) for image_id in sorted(ids)]
    known = [take_fingerprint(file, 50_000_000) for file in files]
    sample = np.random.default_rng(0).permutation(len(files))[:SAMPLE]
    photos = [Image.fromarray(decode_image(files[row]).pixels) for row in sample]
    lines = [f"{data}: {len(sample)} of {len(files)} photos, changed; hash close, and duplicate"]
    for name, (change, quality) in CHANGES.items():
        verdicts = [
            judge(known[row], fingerprint(change(photo), quality))
            for row, photo in zip(sample, photos, strict=True)
        ]
        close, duplicates = np.mean(verdicts, axis=0)
        lines.append(f"  {name:40} {close:6.1%} {duplicates:6.1%}")
    pairs = find_close(np.array([image.phash for image in known], dtype=np.uint64), MAX_DISTANCE)
    duplicates = sum(
        judge(known[a], known[b])[1] for a, b in zip(pairs.first, pairs.later, strict=True)
    )
    lines.append(f"  {'pairs of different photos':40} {len(pairs):6} {duplicates:6}")
    return "\n".join(lines)


def make_hashes(count: int) -> Hashes:
    """Return random hashes; a tenth are copies with up to 6 other bits, 1 % are one crowd."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    copies, crowd = slice(0, count // 10), slice(count // 10, count // 10 + count // 100)
    hashes[copies] = hashes[-(count // 10) :]
    hashes[crowd] = hashes[-1]
    for _ in range(6):
        hashes[copies] ^= np.uint64(1) << rng.integers(0, 64, count // 10, dtype=np.uint64)
    for _ in range(3):
        hashes[crowd] ^= np.uint64(1) << rng.integers(0, 64, count // 100, dtype=np.uint64)
    return rng.permutation(hashes)


def measure_search(count: int = 1_000_000, queries: int = 200) -> str:
    """Time the search for pairs, and faiss on some of the same hashes."""
    hashes = make_hashes(count)
    start, used = time.perf_counter(), time.process_time()
    pairs = find_close(hashes, MAX_DISTANCE)
    ours, used = time.perf_counter() - start, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = 2  # finds all within 11 bits
    index.add(hashes[:, None].view(np.uint8))
    start = time.perf_counter()
    index.range_search(hashes[:queries, None].view(np.uint8), MAX_DISTANCE + 1)
    theirs = (time.perf_counter() - start) / queries * count
    return (
        f"{count} hashes, {len(pairs)} pairs: {ours:.0f} s ({used:.0f} s of processor time), "
        f"{memory:.1f} GB at most; faiss.IndexBinaryMultiHash {theirs:.0f} s, by {queries} of them"
    )


def run(folders: Sequence[Path] = (Path("data/demo"),)) -> str:
    """Report both."""
    return "\n".join([measure_search(), *map(measure_duplicates, folders)])


if __name__ == "__main__":
    print(run([Path(name) for name in sys.argv[1:]] or (Path("data/demo"),)))
