"""A training step in float32 and in bfloat16 on this CPU, by backbone, and depthwise convolutions.

Both are interleaved. Of the steps the slow convolutions are done in float32 (embed/depthwise.py).
"""

import statistics
import time

import torch
from torch import nn

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec
from embed.precision import measure_precisions

BACKBONES = (
    ("resnet18", 112),
    ("mobilenetv2_100", 224),
    ("tf_efficientnet_lite0", 224),
    ("resnet50", 224),
)


# Kernel, stride and dilation.
CONVOLUTIONS = ((3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2))
CHANNELS, SIDE, BATCH, ROUNDS = 192, 28, 16, 5


def run() -> str:
    """Return the medians and their ratio, a line a backbone; above 1 bfloat16 is faster."""
    lines = ["backbone             side  float32  bfloat16  ratio"]
    for name, side in BACKBONES:
        model = DescriptorModel(ModelSpec(BackboneSpec(name), side, 128))
        seconds = measure_precisions(model, side)
        ratio = seconds["float32"] / seconds["bfloat16"]
        lines.append(
            f"{name:20s} {side:4d} {1e3 * seconds['float32']:5.0f} ms "
            f"{1e3 * seconds['bfloat16']:6.0f} ms {ratio:7.2f}"
        )
    lines.append("depthwise: kernel, stride, dilation; forward and backward")
    for convolution in CONVOLUTIONS:
        float32, bfloat16 = (1e3 * taken for taken in time_convolution(*convolution))
        lines.append(
            f"{convolution!s:25} {float32:5.1f} ms {bfloat16:6.1f} ms {float32 / bfloat16:7.2f}"
        )
    return "\n".join(lines)


def time_convolution(kernel: int, stride: int, dilation: int) -> tuple[float, float]:
    """Return the median seconds of a plain depthwise convolution in float32 and bfloat16."""
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(ROUNDS + 1):
        for dtype, taken in seconds.items():
            layer = nn.Conv2d(
                *(CHANNELS, CHANNELS, kernel, stride, kernel // 2 * dilation, dilation),
                groups=CHANNELS,
                dtype=dtype,
            )
            images = torch.randn(BATCH, CHANNELS, SIDE, SIDE, dtype=dtype)
            images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
            started = time.perf_counter()
            layer(images).sum().backward()
            taken.append(time.perf_counter() - started)
    float32, bfloat16 = (statistics.median(taken[1:]) for taken in seconds.values())
    return float32, bfloat16
