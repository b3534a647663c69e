"""Load a published DELF graph and call it, whichever of its two signatures it has.

One is that of the module google/delf/1 on TensorFlow Hub, the other that of the SavedModels which
the DELF and DELG code of the TensorFlow models repository exports; the names of their inputs and
outputs tell them apart. Knows nothing of settings and original images. Reads the model, which
tensorflow_hub fetches into its cache where it is an address.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.errors import InputError, MissingFileError, install_extra

Pixels = npt.NDArray[np.uint8]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class HubFeatures:
    """What a model found, in pixels of the image that it was given.

    Attributes:
        points: [N, 2] float, (x, y), centre of the top-left pixel = (0, 0).
        scales: [N] float, 1 / image scale: how much larger than at scale 1 the structure is.
        scores: [N] float, attention.
        descriptors: [N, D] float.
    """

    points: npt.NDArray[np.floating]
    scales: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    descriptors: npt.NDArray[np.floating]

    @classmethod
    def empty(cls, dim: int) -> "HubFeatures":
        """Return no features, of descriptors of this size."""
        empty = np.empty(0, np.float32)
        return cls(empty.reshape(0, 2), empty, empty, np.empty((0, dim), np.float32))

    def strongest(self, count: int) -> "HubFeatures":
        """Return the first count features by falling score, then y, x and scale."""
        x, y = self.points.T
        rows = np.lexsort((self.scales, x, y, -self.scores))[:count]
        return HubFeatures(
            self.points[rows], self.scales[rows], self.scores[rows], self.descriptors[rows]
        )


@dataclass(frozen=True)
class Signature:
    """One published signature: the names that tell it, how it is fed, and how it is read."""

    inputs: frozenset[str]
    optional_inputs: frozenset[str]
    outputs: frozenset[str]  # those that are read; there may be more
    descriptors: str  # the output that holds them
    feed: Callable[[Pixels, Sequence[float], float, int], dict[str, Any]]
    read: Callable[[Arrays], HubFeatures]

    def fits(self, function: Any) -> bool:
        """Tell whether a signature of a SavedModel has these names."""
        inputs = set(function.structured_input_signature[1])
        known = self.inputs | self.optional_inputs
        return self.inputs <= inputs <= known and self.outputs <= set(function.structured_outputs)


def _feed_module(
    pixels: Pixels, scales: Sequence[float], threshold: float, count: int
) -> dict[str, Any]:
    return {
        "image": pixels.astype(np.float32) / 255,
        "image_scales": scales,
        "score_threshold": threshold,
        "max_feature_num": count,
    }


def _read_module(outputs: Arrays) -> HubFeatures:
    """Read the outputs of google/delf/1.

    Only locations (y, x) and descriptors are documented. Without scales all count as 1; without
    scores 1 / rank stands for them, as the module selects by falling attention.
    """
    count = len(outputs["locations"])
    ranks = np.arange(1, count + 1, dtype=np.float32)
    scores = outputs.get("scores", outputs.get("attention", 1 / ranks))
    # The module resizes as TensorFlow 1 did, pixel p from p / scale: nothing to correct.
    return HubFeatures(
        points=outputs["locations"][:, ::-1],
        scales=outputs.get("scales", np.ones_like(ranks)).reshape(count),
        scores=scores.reshape(count),
        descriptors=outputs["descriptors"],
    )


def _feed_export(
    pixels: Pixels, scales: Sequence[float], threshold: float, count: int
) -> dict[str, Any]:
    return {
        "input_image": pixels,
        "input_scales": scales,
        "input_abs_thres": threshold,
        "input_max_feature_num": count,
        # DELG asks which scales its global descriptor takes. We drop it, so one has to do.
        "input_global_scales_ind": [0],
    }


def _read_export(outputs: Arrays) -> HubFeatures:
    """Read the outputs of an exported model, boxes [y0, x0, y1, x1] of the receptive fields.

    The boxes are those of the resized image divided by the image scale s, but TensorFlow 2
    resizes around pixel centres: its pixel p shows (p + 0.5) / s - 0.5, not p / s. Differs in
    that from the reference, which is off by 1.5 pixels at s = 0.25.
    """
    boxes, scales = outputs["boxes"], outputs["scales"].reshape(-1)
    centres = (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2
    return HubFeatures(
        points=centres + 0.5 * scales[:, None] - 0.5,
        scales=scales,
        scores=outputs["scores"].reshape(-1),
        descriptors=outputs["features"],
    )


SIGNATURES = (
    Signature(
        inputs=frozenset({"image", "image_scales", "score_threshold", "max_feature_num"}),
        optional_inputs=frozenset(),
        outputs=frozenset({"locations", "descriptors"}),
        descriptors="descriptors",
        feed=_feed_module,
        read=_read_module,
    ),
    Signature(
        inputs=frozenset(
            {"input_image", "input_scales", "input_abs_thres", "input_max_feature_num"}
        ),
        optional_inputs=frozenset({"input_global_scales_ind"}),
        outputs=frozenset({"boxes", "features", "scales", "scores"}),
        descriptors="features",
        feed=_feed_export,
        read=_read_export,
    ),
)


@dataclass(frozen=True, eq=False)
class HubModel:
    """A loaded graph: TensorFlow's function of named tensors, and how to call it."""

    function: Any
    signature: Signature

    @property
    def dim(self) -> int:
        """Values in one descriptor."""
        size = self.function.structured_outputs[self.signature.descriptors].shape[-1]
        # A graph that does not state it still tells it with every result, even an empty one.
        blank = np.zeros((64, 64, 3), np.uint8)
        return int(size or self.find(blank, [1.0], 1e30, 1).descriptors.shape[1])

    def find(
        self, pixels: Pixels, scales: Sequence[float], threshold: float, count: int
    ) -> HubFeatures:
        """Run the model on one image.

        Args:
            pixels: [H, W, 3] uint8 RGB.
            scales: of the image pyramid, 1 = as given.
            threshold: least attention.
            count: features at most.
        """
        tensorflow, _ = import_tensorflow()
        values = self.signature.feed(pixels, scales, threshold, count)
        specs = self.function.structured_input_signature[1]
        tensors = {name: tensorflow.constant(values[name], specs[name].dtype) for name in specs}
        outputs = self.function(**tensors)
        return self.signature.read({name: value.numpy() for name, value in outputs.items()})


def load_model(handle: str) -> HubModel:
    """Load a model from a folder or an address of TensorFlow Hub.

    Raises:
        MissingFileError: it cannot be fetched.
        InputError: TensorFlow is not installed.
        InputError: it cannot be loaded, or has no DELF signature.
    """
    tensorflow, hub = import_tensorflow()
    path = fetch_model(handle)
    try:
        with _errors_only(tensorflow.get_logger()):
            functions = hub.load(path).signatures
    except (OSError, RuntimeError, ValueError, tensorflow.errors.OpError) as error:
        raise InputError(
            f"{path}: TensorFlow cannot load this SavedModel ({error}); download it again"
        ) from error
    return _choose(functions, path)


def fetch_model(handle: str) -> str:
    """Return the folder of a model, fetched from an address if it is not there yet.

    Raises:
        MissingFileError: it cannot be fetched.
        InputError: TensorFlow is not installed.
    """
    _, hub = import_tensorflow()
    try:
        # It says three times that it downloads.
        with _errors_only(logging.getLogger("absl")):
            return str(hub.resolve(handle))
    except Exception as error:  # whatever urllib, tarfile and TensorFlow raise
        raise MissingFileError(
            f"{handle} cannot be fetched ({getattr(error, 'reason', error)}); download and unpack "
            "the model where there is a network, and name its folder: rerank.hub_model"
        ) from error


def _choose(functions: Mapping[str, Any], path: str) -> HubModel:
    """Return the first function whose signature is known."""
    for function in functions.values():
        for signature in SIGNATURES:
            if signature.fits(function):
                return HubModel(function, signature)
    expected = " or ".join(
        f"{sorted(signature.inputs)} -> {sorted(signature.outputs)}" for signature in SIGNATURES
    )
    raise InputError(
        f"{path}: no DELF signature, found {_describe(functions)}; expected {expected}; give a "
        "DELF module of TensorFlow Hub or a model that the DELF repository exported"
    )


def import_tensorflow() -> tuple[Any, Any]:
    """Return the modules tensorflow and tensorflow_hub.

    Triton, which torch loads sooner or later where it is installed, is loaded before: after
    TensorFlow 2.20 and 2.21 its LLVM finds theirs and ends the process
    (github.com/tensorflow/tensorflow/issues/124205).

    Raises:
        InputError: they are not installed.
    """
    with suppress(ImportError):
        import triton  # noqa: F401
    try:
        with warnings.catch_warnings():
            # tensorflow_hub 0.16 still asks pkg_resources for TensorFlow's version.
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            import tensorflow
            import tensorflow_hub
    except ImportError as error:
        raise InputError(
            f"published DELF models need TensorFlow ({error}); {install_extra('delf')}"
        ) from error
    return tensorflow, tensorflow_hub


@contextmanager
def _errors_only(logger: logging.Logger) -> Iterator[None]:
    """Hold back the warnings, several for each variable, with which TensorFlow 1 modules load."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _describe(functions: Mapping[str, Any]) -> str:
    parts = [
        f"'{name}' {sorted(function.structured_input_signature[1])} -> "
        f"{sorted(function.structured_outputs)}"
        for name, function in functions.items()
    ]
    return ", ".join(parts) or "no signatures at all"
