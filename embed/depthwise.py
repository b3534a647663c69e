"""Train depthwise convolutions in float32 where their backward pass in bfloat16 is slow on a CPU.

Knows no network: it looks at the convolutions as they are computed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# [kernel height, width], stride and dilation of which both passes are fast.
FAST = ((3, 3), (1, 1), (1, 1))
OPTIONS = ("bias", "stride", "padding", "dilation", "groups")  # of torch.conv2d, in order


class Float32Depthwise(TorchFunctionMode):
    """Where a CPU computes in bfloat16, do slow depthwise convolutions in float32 all the same.

    oneDNN, as torch 2 has it, learns from a depthwise convolution with a stride of 2 some ten
    times slower in bfloat16 than in float32, from one of 5 x 5 pixels twice as slowly, from one of
    3 x 3 with a stride of 1 a third faster (tests/benchmarks/bench_precision.py). Of MobileNetV2's
    steps the two of stride 2 took half. Nothing changes without autocast, without gradients, or on
    a GPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute what is computed, slow convolutions in float32."""
        kwargs = kwargs or {}
        if func is not torch.conv2d or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        if not _is_slow(*args, **kwargs):
            return func(*args, **kwargs)
        images, weight, *others = args
        with torch.autocast("cpu", enabled=False):
            found = func(images.float(), weight, *others, **kwargs)
        return found.to(torch.get_autocast_dtype("cpu"))


def _is_slow(images: Tensor, weight: Tensor, *others: Any, **named: Any) -> bool:
    """Tell whether a convolution of [B, C, H, W] is one whose backward pass is slow."""
    learns = torch.is_grad_enabled() and (images.requires_grad or weight.requires_grad)
    options = dict(zip(OPTIONS, others, strict=False)) | named
    depthwise = options.get("groups", 1) > 1 and weight.shape[1] == 1
    if images.device.type != "cpu" or not learns or not depthwise:
        return False
    stride, dilation = (_pair(options.get(name, 1)) for name in ("stride", "dilation"))
    return (tuple(weight.shape[2:]), stride, dilation) != FAST


def _pair(values: int | tuple[int, ...]) -> tuple[int, ...]:
    return (values, values) if isinstance(values, int) else tuple(values)
