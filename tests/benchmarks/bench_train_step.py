"""Processor time of an image in a training step, by part; torchvision's changes beside ours.

Run as `python -m tests.benchmarks.bench_train_step [DATA]`, of a dataset folder's photos or of some
that are drawn. All on one thread, as in the processes that load; parts are interleaved, a figure is
a median. Writes into a temporary folder.
"""

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from embed.augment import Augmentation
from embed.augmented_files import AugmentedFiles
from embed.backbone import BackboneSpec
from embed.decode import decode_image
from embed.depthwise import Float32Depthwise
from embed.image_cache import ImageCache
from embed.image_file import ImageFile
from embed.model import DescriptorModel, ModelSpec
from embed.precision import cpu_has_bfloat16
from embed.tensors import normalize, to_tensor
from embed.train_settings import AugmentSettings
from pipelines.datasets.dataset import Dataset
from tests.images import photo

MODELS = ("mobilenetv2_100", "tf_efficientnet_lite0")
SIDE, PHOTOS, BATCH, STEPS, MAX_PIXELS = 224, 64, 16, 4, 50_000_000


def torchvision_changes(settings: AugmentSettings, size: int) -> v2.Transform:
    """Return the same changes one after the other: uint8 [3, H, W] to [3, size, size]."""
    widest = settings.crop_max_aspect
    return v2.Compose(
        [
            v2.RandomResizedCrop(
                size, (settings.crop_min_area, 1.0), (1 / widest, widest), antialias=True
            ),
            v2.RandomHorizontalFlip(settings.mirror),
            v2.RandomRotation(settings.rotation, v2.InterpolationMode.BILINEAR),
            v2.RandomPerspective(settings.perspective, p=0.5),
            v2.ColorJitter(
                settings.brightness, settings.contrast, settings.saturation, settings.hue
            ),
            v2.RandomGrayscale(settings.grey),
            v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], settings.blur),
            v2.RandomErasing(settings.erase, scale=(0.02, 0.2), value=127),
        ]
    )


class Clock:
    """Collects the processor time of parts."""

    def __init__(self) -> None:
        """Begin with none."""
        self.taken: dict[str, list[float]] = defaultdict(list)  # ms an image

    @contextmanager
    def timed(self, part: str, images: int = 1) -> Iterator[None]:
        """Time a part of so many images."""
        start = time.process_time()
        yield
        self.taken[part].append(1e3 * (time.process_time() - start) / images)

    def lines(self) -> list[str]:
        """Return a line for each part."""
        return [
            f"{name:40s} {statistics.median(taken):6.2f} ms" for name, taken in self.taken.items()
        ]


def run(paths: Sequence[ImageFile] = ()) -> str:
    """Return the processor time of each part, a line each."""
    torch.set_num_threads(1)  # more of them wait for one another, busily
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        _time_images(paths or _draw_photos(Path(folder)), Path(folder) / "kept", clock)
        for name in MODELS:
            _time_steps(name, clock)
    precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    return "\n".join([f"{SIDE} pixels, {precision}; an image takes", *clock.lines()])


def _draw_photos(folder: Path) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(PHOTOS)]
    for number, path in enumerate(paths):
        Image.fromarray(photo(960, 1280, seed=number)).save(path, quality=90)
    return paths


def _time_images(paths: Sequence[ImageFile], folder: Path, clock: Clock) -> None:
    settings = AugmentSettings()
    theirs, ours = torchvision_changes(settings, SIDE), Augmentation(settings, SIDE)
    cache = ImageCache(folder, 10**9, epochs=2)
    files = AugmentedFiles(paths, SIDE, MAX_PIXELS, settings, 0, cache=cache)
    side = SIDE * 5 // 4
    torch.manual_seed(0)
    for position, path in enumerate(paths):
        with clock.timed("decode"):
            decoded = decode_image(path, min_side=side, max_pixels=MAX_PIXELS).pixels
        with clock.timed("torchvision's changes"):
            theirs(to_tensor(decoded))
        with clock.timed("an item of the first epoch: read to keep"):
            files[position, 0, position]
        with clock.timed("read what was kept"):
            kept = cache.load(path, side)
        assert kept is not None
        with clock.timed("augment"):
            to_tensor(ours(kept, np.random.default_rng([0, 1, position])))
        with clock.timed("an item of a later epoch"):
            files[position, 1, position]


def _time_steps(name: str, clock: Clock) -> None:
    model = DescriptorModel(ModelSpec(BackboneSpec(name), SIDE, 128)).train()
    model = model.to(memory_format=torch.channels_last)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=cpu_has_bfloat16())
    images = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8)
    for step in range(STEPS + 1):
        timed = clock if step else Clock()  # the first makes memory
        with timed.timed(f"{name} forward", BATCH), autocast, Float32Depthwise():
            batch = normalize(images, model.spec.backbone)
            descriptors = model(batch.contiguous(memory_format=torch.channels_last))
        with timed.timed(f"{name} backward", BATCH):
            descriptors.square().sum().backward()


def _find_photos(folder: Path) -> list[ImageFile]:
    dataset = Dataset(folder)
    return list(dataset.images.locate_all(dataset.load_split(dataset.class_split).ids[:PHOTOS]))


if __name__ == "__main__":
    print(run(_find_photos(Path(sys.argv[1])) if sys.argv[1:] else ()))
