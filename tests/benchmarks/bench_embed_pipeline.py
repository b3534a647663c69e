"""Embed photos from JPEG: against a script that people write, and against tensors in memory.

Run as `python -m tests.benchmarks.bench_embed_pipeline [DATA] [--models NAME...]`: with photos of
DATA side by side, or else drawn ones. Weights are random, as they change no time. Each way once a
round, in turn; medians. Beside the share of what memory gives is the share that is possible:
decoding takes processor time of the model's. Writes to a temporary folder.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from simplejpeg import decode_jpeg
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from embed.allocator import keep_freed_memory
from embed.backbone import BackboneSpec
from embed.decode import decode_image
from embed.engine import Engine
from embed.engine_choice import choose_engine
from embed.extract import extract_all
from embed.graph import GraphEngine, Precision, read_graph_spec
from embed.images import ImageLoader
from embed.meter import Meter
from embed.model import DescriptorModel, ModelSpec
from embed.parallel import count_cores, map_ahead
from embed.torch_engine import TorchEngine, pick_device
from pipelines.runs.job import count_workers
from tests.images import encode, photo

SIDE = 224  # pixels
MODELS = ("mobilenetv2_100", "efficientnet_b0", "resnet50", "vit_small_patch16_224")
# (width, height) and how many of each hundred photos have it.
SIZES = {(640, 480): 40, (1024, 768): 30, (1600, 1200): 15, (2048, 1536): 10, (3000, 2250): 5}
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
BATCH = 32  # images, of the script
MAX_PIXELS = 50_000_000


class Script(Dataset[Tensor]):
    """Photos as most scripts load them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the files."""
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((SIDE, SIDE)),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        """Count the files."""
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        """Return [3, SIDE, SIDE] float32."""
        tensor: Tensor = self.transform(Image.open(self.paths[place]).convert("RGB"))
        return tensor


def run(data: Path | None, models: Sequence[str], count: int = 100, rounds: int = 5) -> str:
    """Return what was measured, a line a way."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), data, count)
        size = sum(path.stat().st_size for path in paths) / count / 1e3
        lines = [f"{count} JPEGs of {size:.0f} kB, medians of {rounds} rounds"]
        decoding = time_decoding(paths)
        lines += describe_decoding(decoding, count)
        each = next(iter(decoding.values())) / count
        lines += [time_model(name, paths, rounds, each) for name in models]
    return "\n".join(lines)


def write_photos(folder: Path, data: Path | None, count: int) -> list[Path]:
    """Write photos of SIZES in a mixed order."""
    rng = np.random.default_rng(0)
    shares = np.array([*SIZES.values()]) / sum(SIZES.values())
    sizes = rng.choice(np.array([*SIZES]), count, p=shares)
    found = sorted((data / "images").rglob("*.jpg")) if data else []
    paths = [folder / f"{number:04d}.jpg" for number in range(count)]
    for path, (width, height) in zip(paths, sizes.tolist(), strict=True):
        tiles = max(1, round(width / 640))  # of a photo's detail, not an enlarged one's
        shape = (height // tiles, width // tiles)
        rows = [np.hstack([_take(rng, found, shape) for _ in range(tiles)]) for _ in range(tiles)]
        path.write_bytes(encode(np.vstack(rows), "JPEG", quality=88))
    return paths


def _take(
    rng: np.random.Generator, found: Sequence[Path], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    if not found:
        return photo(*shape, seed=int(rng.integers(1 << 30)))
    pixels = decode_image(found[int(rng.integers(len(found)))]).pixels
    return np.asarray(cv2.resize(pixels, shape[::-1]), dtype=np.uint8)


def time_decoding(paths: Sequence[Path], rounds: int = 5) -> dict[str, float]:
    """Time reading, decoding and resizing alone, in this thread; ours is first.

    Seconds are of the processor: other work counts less.
    """
    data = [path.read_bytes() for path in paths]
    loader, meter = ImageLoader(SIDE, MAX_PIXELS), Meter()
    ways: dict[str, Callable[[], object]] = {
        "ours, from the file": lambda: [loader.load(0, path, meter) for path in paths],
        "Pillow, full size": lambda: [_by_pillow(each, draft=False) for each in data],
        "Pillow, draft": lambda: [_by_pillow(each, draft=True) for each in data],
        "OpenCV, reduced, linear": lambda: [_by_opencv(each) for each in data],
        "simplejpeg, linear": lambda: [_by_simplejpeg(each) for each in data],
    }
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    medians = _interleave(ways, rounds, time.thread_time)
    cv2.setNumThreads(threads)
    return medians


def describe_decoding(seconds: dict[str, float], count: int) -> list[str]:
    """Return a line a way."""
    ours = next(iter(seconds.values()))
    return [
        f"  {name:28} {1e3 * each / count:7.2f} ms an image  {each / ours:5.2f}x"
        for name, each in seconds.items()
    ]


def _by_pillow(data: bytes, *, draft: bool) -> object:
    image = Image.open(BytesIO(data))
    if draft:
        image.draft("RGB", (SIDE, SIDE))
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _by_opencv(data: bytes) -> object:
    factor = min(Image.open(BytesIO(data)).size) // SIDE
    flag = next((REDUCED[by] for by in REDUCED if factor >= by), cv2.IMREAD_COLOR)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return cv2.resize(np.asarray(pixels), (SIDE, SIDE))


def _by_simplejpeg(data: bytes) -> object:
    pixels = decode_jpeg(data, min_height=SIDE, min_width=SIDE, min_factor=2)
    return cv2.resize(np.asarray(pixels), (SIDE, SIDE))


def time_model(name: str, paths: Sequence[Path], rounds: int, decoding: float) -> str:
    """Time the three ways with a model, as the engine that is chosen for it computes it.

    Decoding takes so many seconds of processor time an image.
    """
    device, meter = pick_device(), Meter()
    torch.manual_seed(0)
    model = DescriptorModel(ModelSpec(BackboneSpec(name), SIDE, 256)).eval()
    plain = timm.create_model(name, num_classes=0).eval().to(device)
    loader = ImageLoader(SIDE, MAX_PIXELS)
    loaded = [loader.load(0, path, Meter()) for path in paths]
    images = np.stack([item[1].numpy() for item in loaded if isinstance(item, tuple)])
    engine = build_engine(model, images[:BATCH], device)
    size = engine.fit_batch(64)
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    ways: dict[str, Callable[[], object]] = {
        "script, DataLoader(2)": lambda: _run_script(plain, paths, device),
        "from JPEG": lambda: extract_all(
            engine,
            paths,
            batch_size=64,
            max_pixels=MAX_PIXELS,
            workers=count_workers(),
            meter=meter,
        ),
        "tensors in memory": lambda: _describe_all(engine, batches),
    }
    script, ours, ceiling = _interleave(ways, rounds, time.perf_counter).values()
    shares = ", ".join(f"{part} {share:.0%}" for part, share in meter.shares().items())
    start = time.process_time()
    _describe_all(engine, batches)
    possible = 1 / (1 + decoding * len(paths) / (time.process_time() - start))
    return (
        f"  {name:24} {len(paths) / ours:6.1f} a second by {engine.name}: {script / ours:.2f}x the "
        f"script's {len(paths) / script:.1f}, {ceiling / ours:.2f} of the "
        f"{len(paths) / ceiling:.1f} from memory ({possible:.2f} possible); held up by {shares}"
    )


def _describe_all(engine: Engine, batches: Sequence[NDArray[np.uint8]]) -> object:
    return list(map_ahead(engine.describe, batches, threads=engine.streams, ahead=engine.streams))


def build_engine(model: DescriptorModel, images: NDArray[np.uint8], device: torch.device) -> Engine:
    """Return what a run describes images [n, 3, SIDE, SIDE] with."""
    if device.type == "cpu":
        with tempfile.TemporaryDirectory() as name:
            chosen = choose_engine(model, name, Path(name), images).engine
            if chosen != "torch":
                precision = cast(Precision, chosen.removeprefix("openvino-"))
                spec = read_graph_spec(Path(name), name)
                return GraphEngine(Path(name), spec, precision, streams=count_cores())
    return TorchEngine(model.to(device))


@torch.no_grad()
def _run_script(model: nn.Module, paths: Sequence[Path], device: torch.device) -> object:
    loader = DataLoader(Script(paths), batch_size=BATCH, num_workers=2)
    return [nn.functional.normalize(model(batch.to(device))).cpu() for batch in loader]


def _interleave(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each way, after a round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = clock()
            way()
            times[name].append(clock() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


if __name__ == "__main__":
    keep_freed_memory()
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA", help="a dataset folder")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME", help="of timm")
    parser.add_argument("--count", type=int, default=100, help="photos")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(run(chosen.data, chosen.models, chosen.count, chosen.rounds))
