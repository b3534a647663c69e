"""The exported graph of a descriptor model, computed by OpenVINO: an engine that needs no torch.

Reads graph.json, graph.xml and graph.bin of a folder, which `graph_export` writes. The graph takes
pixels and holds all that the model does with them, from normalisation to descriptors of length 1.
"""

import copy
import importlib.metadata
import importlib.util
import json
import logging
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .engine import check_shape
from .errors import InputError, MissingFileError, install_extra
from .head_scores import HeadScores
from .parallel import count_cores
from .views import ONE_VIEW, Views, cut_views, merge_descriptors

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
GRAPH_FILES = ("graph.json", "graph.xml", "graph.bin")
CONVERTER = "openvino.tools.ovc"
CPU_BATCH = 8  # images at a time where there are few cores
INSTALL = install_extra("openvino")
REMEDY = "copy all three from the same run, or train again: cairn train --redo"
Floats = NDArray[np.float32]
Precision = Literal["f32", "bf16"]


class ArrayClassifier(Protocol):
    """A classification head and the landmarks of its classes, on arrays."""

    def logits(self, features: Floats) -> Floats:
        """Return [B, C] for features [B, head_dim] of any length."""

    def rank(self, logits: Floats) -> HeadScores:
        """Return the likeliest classes of each row of [B, C]."""


@dataclass(frozen=True)
class GraphSpec:
    """What there is to know of a graph without loading it."""

    model: str  # fingerprint of the model that it was made of
    image_size: int  # pixels, side of the square that the model was made for
    stride: int  # pixels of a cell
    dim: int  # values of a descriptor
    any_shape: bool  # else it takes squares of image_size alone

    def takes(self, views: Views) -> bool:
        """Tell whether the graph can describe all views: none is scaled, all have its shape."""
        return views.cut and (self.any_shape or views.square != "fit")


def has_runtime() -> bool:
    """Tell whether the runtime is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def find_runtime() -> str:
    """Return the version of the runtime that is installed; it is not imported."""
    return importlib.metadata.version("openvino")


def list_precisions() -> tuple[Precision, ...]:
    """Return the precisions that this processor is fast in, the fastest first."""
    known = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in known else ("f32",)


def read_graph_spec(folder: Path, model: str) -> GraphSpec:
    """Read graph.json.

    Args:
        folder: of the graph.
        model: fingerprint of the model that the graph has to be of.

    Raises:
        MissingFileError: there is none.
        InputError: it is damaged, of another format, or of another model.
    """
    path = folder / "graph.json"
    try:
        text = json.loads(path.read_bytes())
        version = text.pop("format")
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} was written by another version of Cairn (format {version}, this one has "
                f"{FORMAT_VERSION}); train again, cairn train --redo, or set embed.engine = 'torch'"
            )
        spec = GraphSpec(**text)
        if min(spec.image_size, spec.stride, spec.dim) < 1:
            raise ValueError("it has a size below 1")
    except FileNotFoundError as error:
        raise MissingFileError(f"no graph in {folder}; set embed.engine = 'torch'") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
    if spec.model != model:
        raise InputError(
            f"{path} is the graph of model {spec.model[:12]}, not of {model[:12]}; {REMEDY}"
        )
    return spec


def write_graph(graph: Any, spec: GraphSpec, folder: Path) -> None:
    """Write an openvino.Model and its spec: the same bytes for the same model."""
    openvino = import_runtime()
    graph.set_friendly_name("descriptors")
    # Names have numbers that depend on what this process converted before.
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
        notes = node.get_rt_info()
        for name in [key for key in notes if key.startswith("fused_names")]:
            del notes[name]
    openvino.serialize(graph, folder / "graph.xml", folder / "graph.bin")
    text = {"format": FORMAT_VERSION, **asdict(spec)}
    (folder / "graph.json").write_text(json.dumps(text, indent=2) + "\n")


class GraphEngine:
    """A graph, ready to compute on the CPU: an Engine.

    Attributes:
        name: openvino-bf16 or openvino-f32.
        spec: of the graph.
        streams: calls that are computed at a time.
    """

    def __init__(
        self,
        folder: Path,
        spec: GraphSpec,
        precision: Precision,
        classifier: ArrayClassifier | None = None,
        *,
        views: Views = ONE_VIEW,
        streams: int = 1,
    ) -> None:
        """Load the graph of a folder.

        Args:
            folder: with graph.xml and graph.bin.
            spec: read_graph_spec of it.
            precision: of the products; all else is in float32. Float32 where the processor has no
                bfloat16, which a line of the log says.
            classifier: asked of each image; None for scores of no class.
            views: that will be asked for.
            streams: calls that threads make at a time, each on its share of the cores: as many as
                there are cores give the most images a second, one the first answer soonest.

        Raises:
            InputError: a file is damaged, or the runtime does not know what is in it, or is damaged
                itself.
        """
        if precision == "bf16" and "bf16" not in list_precisions():
            logger.info("this processor has no bfloat16: descriptors are computed in float32")
            precision = "f32"
        self.spec, self.classifier, self.name = spec, classifier, f"openvino-{precision}"
        self.streams = streams
        try:
            graph = _core().read_model(folder / "graph.xml", folder / "graph.bin")
            # A shape that is known lets the runtime choose its kernels before the first image.
            sides = [-1, -1] if views.square == "fit" else [spec.image_size] * 2
            graph.reshape([-1, 3, *sides])
            compiled = _core().compile_model(graph, "CPU", _options(precision, streams))
            self._requests: SimpleQueue[Any] = SimpleQueue()
            for _ in range(streams):
                self._requests.put(compiled.create_infer_request())
            known = [output.partial_shape[1] for output in graph.outputs]
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or ["no message"])[-1]
            raise InputError(
                f"{folder}/graph.xml cannot be loaded ({reason}); update the runtime, {INSTALL}, "
                f"if it is older than the one that wrote it; else {REMEDY}"
            ) from error
        if len(known) != 2 or (known[0].is_static and known[0].get_length() != spec.dim):
            raise InputError(
                f"{folder}/graph.xml returns vectors of {', '.join(map(str, known))} values, "
                f"graph.json says {spec.dim}; {REMEDY}"
            )

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the model was made for."""
        return self.spec.image_size

    @property
    def stride(self) -> int:
        """Pixels of a cell."""
        return self.spec.stride

    @property
    def dim(self) -> int:
        """Values of a descriptor."""
        return self.spec.dim

    def asking(self, classifier: ArrayClassifier | None) -> Self:
        """Return the same engine, whose images are asked of another classifier, or of none."""
        other = copy.copy(self)
        other.classifier = classifier
        return other

    def fit_batch(self, size: int) -> int:
        """Return how many images at a time are worth while, at most so many."""
        return min(size, max(CPU_BATCH, count_cores()))

    def describe(
        self, images: NDArray[np.uint8], views: Views = ONE_VIEW
    ) -> tuple[Floats, HeadScores]:
        """Describe and classify images, as Engine.describe."""
        check_shape(self, images.shape, views)
        passes = [self.compute(view) for view in cut_views(images, self.image_size, views)]
        vectors = merge_descriptors([described for described, _ in passes], views.merge_p)
        if self.classifier is None:
            return vectors, HeadScores.none(len(vectors))
        logits = [self.classifier.logits(features) for _, features in passes]
        return vectors, self.classifier.rank(np.mean(logits, axis=0))

    def compute(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Return descriptors [B, dim] of length 1 and features [B, head_dim] of [B, 3, h, w]."""
        request = self._requests.get()
        try:
            found = request.infer(np.ascontiguousarray(images, dtype=np.float32))
            return found[0], found[1]
        finally:
            self._requests.put(request)


def _options(precision: Precision, streams: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": count_cores(),
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
    }


def import_runtime() -> Any:
    """Return the module openvino, imported without its converter of models: most of the time.

    Nothing here converts by it, and `from openvino.tools.ovc import convert_model` stays possible.

    Raises:
        ImportError: it is not installed, or damaged.
    """
    known = "openvino" in sys.modules
    if not known:
        sys.modules[CONVERTER] = None  # type: ignore[assignment]  # openvino then does without it
    try:
        return importlib.import_module("openvino")
    finally:
        if not known:
            sys.modules.pop(CONVERTER, None)


@cache
def _core() -> Any:
    """Return the runtime, which is imported once it is asked for."""
    try:
        return import_runtime().Core()
    except ImportError as error:
        raise InputError(
            f"OpenVINO is installed and cannot be loaded ({error}); install it anew, {INSTALL}, or "
            "remove it: torch describes images then"
        ) from error
