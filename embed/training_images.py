"""The images of a training, in the batches of its epochs, loaded by processes of their own.

Reads image files; writes those of an ImageCache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from .augmented_files import AugmentedFiles
from .image_cache import ImageCache
from .image_file import ImageFile
from .images import Batch, Item, collate, start_loader
from .profile import Profile
from .sampling import CurrentBatches, EpochBatches
from .settings import DecodeSettings
from .train_settings import TrainSettings
from .upsampling import Examples


@dataclass(frozen=True)
class TrainingImages:
    """What to train on: N images, or M examples made of them."""

    paths: Sequence[ImageFile]  # [N]
    labels: NDArray[np.int64]  # [N], or [M] with examples: classes, 0 to C - 1
    examples: Examples | None = None  # [M]; none: each image as it is
    ids: Sequence[str] = ()  # [N]; variants depend on them

    def __post_init__(self) -> None:
        """Raise ValueError unless there is a label for each image or example."""
        count = len(self.paths if self.examples is None else self.examples)
        if len(self.labels) != count or (self.examples and len(self.ids) != len(self.paths)):
            raise ValueError(
                f"{len(self.labels)} labels for {count} images or examples, {len(self.ids)} ids "
                f"for {len(self.paths)} files; give one for each"
            )


class TrainingLoader:
    """Loads the batches of one epoch after the other."""

    def __init__(
        self,
        images: TrainingImages,
        settings: TrainSettings,
        *,
        decode: DecodeSettings,
        device: torch.device,
        workers: int,
        cache: Path,
        profile: Profile,
        world_size: int = 1,
    ) -> None:
        """Take what is loaded.

        Args:
            images: of all epochs.
            settings: of the training.
            decode: limits of the decoder.
            device: that the batches are for.
            workers: processes that load; 0: this one does.
            cache: folder for decoded images, of this process alone; it is made and removed.
            profile: times what is done.
            world_size: processes that load shares of the same batches, and share the limit of the
                cache.
        """
        self.images, self.settings, self.decode = images, settings, decode
        self.device, self.workers, self.profile = device, workers, profile
        self._folder, self._world_size = cache, world_size
        self._batches = CurrentBatches()
        self._cache: ImageCache | None = None
        self._size = 0  # of the images, in pixels
        self._loader: DataLoader[Item] | None = None  # whose processes stay from epoch to epoch

    def load(self, batches: EpochBatches, size: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, of images of a size in pixels."""
        self._batches.epoch = batches
        if self._loader is None or size != self._size:
            self.close()
            self._loader, self._size = self._build(size), size
        found = start_loader(self._loader)
        while True:
            with self.profile.timed("wait"):
                batch = next(found, None)
            if batch is None:
                break
            yield batch
        if self._cache is not None:
            self._cache.tell()

    def close(self) -> None:
        """End the processes that load, and remove what they have kept."""
        self._loader = None
        if self._cache is not None:
            self._cache.remove()

    def _build(self, size: int) -> "DataLoader[Item]":
        settings, limit = self.settings, int(1e9 * self.settings.cache_gigabytes)
        self._cache = None
        if limit and settings.epochs > 1:
            self._cache = ImageCache(self._folder, limit // self._world_size, settings.epochs)
        files = AugmentedFiles(
            self.images.paths,
            size,
            self.decode.max_pixels,
            settings.augment,
            settings.seed,
            examples=self.images.examples,
            ids=self.images.ids,
            cache=self._cache,
            profile=self.profile,
        )
        return DataLoader(
            files, batch_sampler=self._batches, **loader_options(self.device, self.workers)
        )


def loader_options(device: torch.device, workers: int) -> dict[str, Any]:
    """Return the options of a DataLoader of AugmentedFiles.

    Args:
        device: that the batches are for. A GPU fetches them from pinned memory while it computes,
            and takes more than one at a time to be kept busy.
        workers: processes that load; 0: this one does.
    """
    on_gpu = device.type == "cuda"
    options: dict[str, Any] = {
        "collate_fn": collate,
        "num_workers": workers,
        "pin_memory": on_gpu,
    }
    if workers:
        options |= {
            "persistent_workers": True,
            "prefetch_factor": 4 if on_gpu else 2,  # batches a process
        }
    return options
