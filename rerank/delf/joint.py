"""Local features that are trained along with the descriptor model, as in DELG.

A local model names the descriptor model it belongs to, which is finished only when training ends.
So training works on maps alone and leaves what it learned in a file, of which `finish_delf` makes a
local model. Reads and writes local.safetensors; reads image files.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from embed.backbone import Backbone
from embed.errors import InputError
from embed.failure import Failure
from embed.image_file import ImageFile
from embed.images import ImageFiles, ImageLoader
from embed.model import DescriptorModel
from embed.settings import DecodeSettings

from .attention import Attention
from .calibration import Remedies, calibrate
from .model import LocalModel
from .objective import MapObjective, find_level, make_spec
from .reduction import Reduction
from .settings import DelfSettings


def build_joint_objective(backbone: Backbone, settings: DelfSettings, classes: int) -> MapObjective:
    """Build with random weights what is trained along, on maps of a backbone that changes too.

    The caller stops the gradient before the backbone.

    Raises:
        ValueError: the backbone has no map of that stride, or dim exceeds its channels.

    Source: Cao, Araujo, Sim, "Unifying Deep Local and Global Features for Image Search", ECCV
    2020, section 3. Differs: a PCA that is fitted later, unless the settings name the autoencoder.
    """
    level = find_level(backbone, settings)
    attention = Attention(level.channels, settings.hidden)
    if settings.reduction == "autoencoder":
        encoder = Reduction(level.channels, settings.dim)
        return MapObjective(level, attention, classes, encoder)
    return MapObjective(level, attention, classes)


def save_joint(objective: MapObjective, path: Path) -> None:
    """Write what a local model keeps of a training: the attention, and the encoder if any."""
    parts = {"attention": objective.attention, "reduction": objective.encoder}
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, path)


def finish_delf(
    model: DescriptorModel,
    trained: Path,
    paths: Sequence[ImageFile],
    settings: DelfSettings,
    *,
    decode: DecodeSettings,
    remedies: Remedies,
    workers: int = 0,
) -> tuple[LocalModel, list[Failure]]:
    """Make a local model of what was trained along with a descriptor model.

    Args:
        model: as the training left it, in eval mode, on the device to use.
        trained: file of save_joint.
        paths: [N] training images, which set the unit of the scores and the PCA.
        settings: those of the joint training; a PCA may have another dim.
        decode: limits of the decoder.
        remedies: named in errors.
        workers: processes that decode.

    Returns:
        The local model in eval mode, and the images that could not be read, by position.

    Raises:
        ValueError: the file is missing, damaged or of other settings, no image can be read, or dim
            exceeds the channels of the map or the descriptors there are.
        TrainingCollapsed: the attention is not finite, or the same everywhere.
    """
    local = _load_joint(model, trained, settings).to(next(model.parameters()).device)
    files = ImageFiles(paths, ImageLoader(model.spec.image_size, decode.max_pixels))
    failures = calibrate(model, local, files, settings, workers=workers, remedies=remedies)
    return local, failures


def _load_joint(model: DescriptorModel, trained: Path, settings: DelfSettings) -> LocalModel:
    local = LocalModel(make_spec(model, settings))
    kept = ("attention.", "reduction.") if settings.reduction == "autoencoder" else ("attention.",)
    names = {name for name in local.state_dict() if name.startswith(kept)}
    try:
        state = load_file(trained)
        if state.keys() != names:
            raise ValueError(f"{sorted(state)} instead of {sorted(names)}")
        local.load_state_dict({**local.state_dict(), **state})
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{trained} is not what was trained along with the model ({error}); train it again"
        ) from error
    return local
