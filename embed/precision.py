"""Choose the precision of training: bfloat16 where it is faster, measured for the backbone.

Writes a small JSON file with what was measured, so that a training that is resumed keeps it.
"""

import copy
import json
import logging
import statistics
import time
from pathlib import Path
from typing import Literal

import torch

from .depthwise import Float32Depthwise
from .errors import InputError
from .files import writing
from .model import DescriptorModel
from .train_settings import TrainSettings

logger = logging.getLogger(__name__)

FabricPrecision = Literal["32-true", "bf16-mixed"]
NAMES: dict[str, FabricPrecision] = {"float32": "32-true", "bfloat16": "bf16-mixed"}
BATCH, ROUNDS = 8, 3


def pick_precision(
    model: DescriptorModel, settings: TrainSettings, record: Path
) -> FabricPrecision:
    """Return the precision of the settings, or the faster one where they say auto.

    A processor without bfloat16 of its own computes in float32, whatever the settings say.
    On a GPU auto is bfloat16 where the GPU has it. On a CPU both are measured once and kept in the
    file `record`: the choice decides the trained weights, so a resumed run must not choose anew.
    """
    if settings.precision == "float32":
        return NAMES["float32"]
    on_gpu = torch.cuda.is_available()
    # By default torch says yes for a GPU that emulates it, slower than float32.
    has_bfloat16 = (
        torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else cpu_has_bfloat16()
    )
    if not has_bfloat16:
        if settings.precision == "bfloat16":
            logger.warning(
                "this %s has no bfloat16 arithmetic: train.precision = 'bfloat16' trains in "
                "float32, slower",
                "GPU" if on_gpu else "CPU",
            )
        return NAMES["float32"]
    if on_gpu or settings.precision == "bfloat16":
        return NAMES["bfloat16"]
    if not record.is_file():
        seconds = measure_precisions(model, settings.image_size)
        with writing(record) as temporary:
            temporary.write_text(json.dumps(seconds) + "\n")
    seconds = _read_measured(record)
    # A gain within the noise is not worth the lost precision.
    chosen = "bfloat16" if seconds["bfloat16"] < 0.9 * seconds["float32"] else "float32"
    logger.info(
        "precision %s: a step takes %.0f ms in float32, %.0f ms in bfloat16",
        *(chosen, 1e3 * seconds["float32"], 1e3 * seconds["bfloat16"]),
    )
    return NAMES[chosen]


def _read_measured(record: Path) -> dict[str, float]:
    try:
        seconds = json.loads(record.read_bytes())
        return {name: float(seconds[name]) for name in NAMES}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{record} is damaged ({error}); delete it: it is measured anew"
        ) from error


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this CPU multiplies in bfloat16; without, it is emulated and slower."""
    if not cpuinfo.is_file():
        return False
    flags = set(cpuinfo.read_text().split())
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def measure_precisions(model: DescriptorModel, image_size: int) -> dict[str, float]:
    """Return the median seconds of a training step on this CPU by name of the precision.

    The steps of both are interleaved, on a copy of the model and random images.
    """
    trial = copy.deepcopy(model).train().to(memory_format=torch.channels_last)
    images = torch.rand(
        BATCH, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)
    )
    images = images.contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(ROUNDS + 1):
        for name, taken in seconds.items():
            started = time.perf_counter()
            bfloat16 = torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16")
            with bfloat16, Float32Depthwise():
                descriptors = trial(images)
            descriptors.square().sum().backward()
            taken.append(time.perf_counter() - started)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
