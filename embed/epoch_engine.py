"""What describes images while a model is trained: a graph of its weights of the moment, or torch.

Imports torch. Writes into a temporary folder. Float32 alone: how far bfloat16 is from it differs
from epoch to epoch, and these are compared with each other.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from .engine import Engine
from .errors import InputError
from .graph import Floats, GraphEngine, has_runtime
from .graph_export import export_graph
from .head_scores import HeadScores
from .model import DescriptorModel, ModelSpec
from .parallel import count_cores
from .torch_engine import Classifier, TorchEngine
from .views import Views

logger = logging.getLogger(__name__)

LEAST_IMAGES = 100  # from which on a graph saves more than it takes to make it; twice what was seen

EngineOf = Callable[[Classifier | None], Engine]  # of a head that is asked, or of none


class EpochEngines:
    """Opens engines for a model that is trained further in between.

    Whether it makes graphs follows from numbers and the network alone, not from a measurement, so
    that a training that is repeated, or goes on, is judged alike.
    """

    def __init__(self, count: int, views: Views, *, exports: bool = True) -> None:
        """Take how many images each model describes, in which views, and if a graph may do it."""
        self.views, self.exports = views, exports and count >= LEAST_IMAGES and has_runtime()
        self._refused: list[ModelSpec] = []  # which is logged once, and not tried again

    def open(self, model: DescriptorModel) -> EngineOf:
        """Return engines of a model, which is in eval mode, as long as its weights stay."""
        on_cpu = next(model.parameters()).device.type == "cpu"
        graph = self._export(model) if self.exports and on_cpu else None
        if graph is None:
            return partial(TorchEngine, model)
        return lambda head: graph.asking(None if head is None else _OnArrays(head))

    def _export(self, model: DescriptorModel) -> GraphEngine | None:
        if model.spec in self._refused:
            return None
        fits = self.views.square == "fit"
        try:
            with tempfile.TemporaryDirectory() as name:
                spec = export_graph(model, "", Path(name), any_shape=fits)
                if spec is not None and spec.takes(self.views):
                    return GraphEngine(
                        Path(name), spec, "f32", views=self.views, streams=count_cores()
                    )
        except (InputError, OSError, RuntimeError) as error:  # a training is not lost for it
            logger.warning("%s; torch judges the training", error)
        self._refused.append(model.spec)
        return None


@dataclass(frozen=True, eq=False)
class _OnArrays:
    """A classifier of torch on the arrays of a graph: an ArrayClassifier."""

    classifier: Classifier

    @torch.inference_mode()
    def logits(self, features: Floats) -> Floats:
        found: Floats = self.classifier.logits(torch.from_numpy(features)).numpy()
        return found

    def rank(self, logits: Floats) -> HeadScores:
        return self.classifier.rank(torch.from_numpy(logits))
