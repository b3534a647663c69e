"""Export a descriptor model as a graph for OpenVINO, and check that it computes the same.

Imports torch and openvino. Writes graph.json, graph.xml and graph.bin. The runtime's own function
for this, convert_model, is not called: it reports its use over the network.
"""

import copy
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .graph import GraphSpec, write_graph
from .model import DescriptorModel
from .tensors import normalize

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.9999  # of a descriptor in float32 to that of torch
TRACED = 2  # images; what is traced of one may hold for one alone


class _Traced(nn.Module):
    """Pixels to descriptors and features: what a graph computes."""

    def __init__(self, model: DescriptorModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, dim] of length 1 and [B, head_dim] of [B, 3, h, w] float32, 0 to 255."""
        batch = normalize(images, self.model.spec.backbone)
        features = self.model.features(batch).float()
        return self.model.describe(features, batch).float(), features


def export_graph(
    model: DescriptorModel, fingerprint: str, folder: Path, *, any_shape: bool = True
) -> GraphSpec | None:
    """Write the graph of a model on the CPU; None where there can be none, which is logged.

    It takes any number of images, and of any shape if that is wanted, and gives the same as torch
    does.
    """
    described = _Traced(_fix_weights(model)).eval()
    size = model.image_size
    try:
        graph = _convert(described, size)
        fits = _agrees(graph, described, (size, size))
        other = (size + model.stride, size + 2 * model.stride)
        any_shape = fits and any_shape and _agrees(graph, described, other)
    except Exception as error:  # tracing runs the network, and each fails in its own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        logger.warning(
            "'%s' cannot be exported as a graph (%s); torch describes images",
            *(model.spec.backbone.architecture, reason),
        )
        return None
    if not fits:
        logger.warning(
            "the graph of '%s' does not compute what torch does; torch describes images",
            model.spec.backbone.architecture,
        )
        return None
    spec = GraphSpec(fingerprint, size, model.stride, model.dim, any_shape)
    write_graph(graph, spec, folder)
    return spec


def _fix_weights(model: DescriptorModel) -> DescriptorModel:
    """Return a copy whose convolutions have weights, instead of computing them: spectral norm."""
    fixed = copy.deepcopy(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module):
            plain = nn.Conv2d(module.in_channels, module.out_channels, 1, bias=False)
            plain.weight.data = module.weight.detach()
            fixed.set_submodule(name, plain)
    return fixed


def _convert(described: nn.Module, size: int) -> Any:
    """Return the openvino.Model of a module, for [?, 3, ?, ?]."""
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(TRACED, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        # torch.jit is superseded by torch.export, which takes three times as long, and whose graphs
        # fix the batch of a ViT; what a trace may get wrong is told by comparing.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(described, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)  # named: the runtime does not keep it alive
        frontend = FrontEndManager().load_by_framework("pytorch")
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape([-1, 3, -1, -1])
    # Norms are folded, and what is constant is computed, now: loading takes half of the time.
    apply_moc_transformations(graph, cf=True, smart_reshape=False)
    return graph


def _agrees(graph: Any, described: nn.Module, shape: tuple[int, int]) -> bool:
    """Tell whether a graph describes noise of a height and width as torch does."""
    import openvino

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (TRACED + 1, 3, *shape)).astype(np.float32)
    try:
        with torch.inference_mode():
            expected = cast(Tensor, described(torch.from_numpy(images))[0]).numpy()
        fixed = graph.clone()
        fixed.reshape([-1, 3, *shape])
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        found = openvino.Core().compile_model(fixed, "CPU", options)(images)[0]
    except (RuntimeError, AssertionError):  # of either: the network takes no such shape
        return False
    return bool(found.shape == expected.shape and (found * expected).sum(1).min() > LEAST_COSINE)
