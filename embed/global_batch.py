"""One batch over several processes, so that they learn from it what one process would.

Metric losses compare every image of a batch with every other one. So each process describes its
share of the images, gets the descriptors of all, and computes the loss of the whole batch; only its
local rows pass gradients back. The average of the processes' gradients is then that of one process,
up to rounding, except where dropout draws otherwise, or a batch norm is not frozen: on GPUs it sees
the whole batch, on a CPU, for which torch has no such thing, the local share.

Source: the loss over gathered features of OpenCLIP (Ilharco et al., 2021), here with an exact
gradient.
"""

from dataclasses import dataclass
from typing import Self

import torch
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from torch import Tensor, distributed, nn

Row = tuple[int, str, str]


@dataclass(frozen=True, eq=False)
class GlobalBatch:
    """What is known in every process of a batch; of n processes each has every n-th image."""

    fabric: Fabric
    local: Tensor  # [b] classes of the images of this process that could be read
    classes: Tensor  # [share, world_size] int64; -1 where there is no image

    @classmethod
    def of(cls, fabric: Fabric, labels: Tensor, share: int) -> Self:
        """Gather the classes [b] of the images that each process could read, of `share` at most."""
        return cls(fabric, labels, _gather(fabric, labels, share, -1))

    @property
    def labels(self) -> Tensor:
        """The classes [B] of all images, in the order of the batch if all could be read."""
        if self.world_size == 1:
            return self.local  # a mask would make the processor wait for the GPU
        return self.classes[self.classes >= 0]

    @property
    def smallest(self) -> int:
        """How many images that process has that has the fewest."""
        if self.world_size == 1:
            return len(self.local)
        return int((self.classes >= 0).sum(dim=0).min())

    @property
    def world_size(self) -> int:
        """Processes that share the batch: what the local gradient counts in their mean."""
        return self.fabric.world_size

    @property
    def weight(self) -> float:
        """What a mean over the local images counts in the mean over processes."""
        return self.world_size * len(self.local) / len(self.labels)

    def gather(self, rows: Tensor) -> Tensor:
        """Return rows [B, D] of all images for the rows [b, D] of the local ones, as `labels`.

        Only the local rows pass gradients on.
        """
        if self.fabric.world_size == 1:
            return rows
        every = _gather(self.fabric, rows.detach(), len(self.classes), 0)
        every[: len(rows), self.fabric.global_rank] = rows
        return every[self.classes >= 0]

    def mean(self, values: Tensor) -> Tensor:
        """Return means [S] over all images for means over the local ones."""
        mean = self.fabric.all_reduce(values * self.weight)
        assert isinstance(mean, Tensor)
        return mean


def _gather(fabric: Fabric, rows: Tensor, share: int, nothing: int) -> Tensor:
    """Return [share, world_size, ...] of rows [b, ...] of each process, filled up with nothing."""
    filled = rows.new_full((share, *rows.shape[1:]), nothing)
    filled[: len(rows)] = rows
    every = [filled]
    if fabric.world_size > 1:
        every = [torch.empty_like(filled) for _ in range(fabric.world_size)]
        distributed.all_gather(every, filled)
    return torch.stack(every, dim=1)


def sync_batch_norms(fabric: Fabric, module: nn.Module) -> nn.Module:
    """Let batch norms take their statistics of the whole batch, where there is a way."""
    if fabric.world_size == 1 or fabric.device.type == "cpu":
        return module
    shared: nn.Module = convert_sync_batchnorm(module)
    return shared


def gather_rows(fabric: Fabric, values: list[Row]) -> list[Row]:
    """Return the rows that any process has, sorted, each once."""
    lists = [values]
    if fabric.world_size > 1:
        lists *= fabric.world_size
        distributed.all_gather_object(lists, values)
    return sorted(set().union(*lists))
