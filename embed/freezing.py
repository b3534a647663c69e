"""Freeze parts of a network, so that training changes only the rest.

Sets `requires_grad`. Knows nothing of optimizers; they leave alone what gets no gradient.
"""

from collections.abc import Iterator

from torch import nn

from .attention import SEAttention
from .errors import InputError
from .model import DescriptorModel
from .train_settings import FreezeSettings


def freeze(
    model: DescriptorModel, head: nn.Module, settings: FreezeSettings, section: str = "train.freeze"
) -> None:
    """Freeze what the settings name, and thaw all else that an earlier call froze.

    Of the model only timm's network is ever frozen: input norm, attention, pooling and neck are
    new and stay trained, attention between the stages too. What one of the three limits of the
    settings names is frozen, whatever the others say. Call keep_frozen_norms after each
    `model.train()`, or the statistics of frozen norms still move.

    Args:
        model: around timm's network.
        head: the classification head.
        settings: what to freeze.
        section: of the recipe, that errors name.

    Raises:
        InputError: more convolutions or tensors are named than there are; nothing is changed then.
    """
    network = model.backbone.network
    frozen = _first_tensors(network, settings.first_tensors, section)
    if settings.stride:
        frozen += _layers_to_stride(network, settings.stride)
    if settings.last_convolutions >= 0:
        frozen += _all_but_last_convolutions(network, settings.last_convolutions, section)
    model.requires_grad_(True)
    head.requires_grad_(not settings.head)
    for parameter in frozen:
        parameter.requires_grad_(False)
    for parameter in [*model.parameters(), *head.parameters()]:
        if not parameter.requires_grad:
            parameter.grad = None  # what an earlier step left would be applied once more


def keep_frozen_norms(module: nn.Module) -> None:
    """Put every batch norm whose own weight is frozen into eval mode: its statistics stay."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.weight is not None:
            if not child.weight.requires_grad:
                child.eval()


def freeze_batch_norm(network: nn.Module) -> None:
    """Put every batch norm into eval mode: its statistics stay, whether its weight does or not.

    Not those of attention between the stages: they are new, and have no statistics to keep.
    """
    for part in _children_first(network):
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _first_tensors(network: nn.Module, count: int, section: str) -> list[nn.Parameter]:
    """Return the first parameter tensors in order of registration, without attention's."""
    attached = _attached(network)
    tensors = [parameter for parameter in network.parameters() if id(parameter) not in attached]
    if count > len(tensors):
        raise InputError(
            f"{section}.first_tensors = {count}: {type(network).__name__} has {len(tensors)}; name "
            "fewer, or freeze all with last_convolutions = 0"
        )
    return tensors[:count]


def _layers_to_stride(network: nn.Module, stride: int) -> list[nn.Parameter]:
    """Return the parameters of the layers up to the last map of at most a stride.

    None of a network whose first map is of a larger one, such as most ViTs: all their maps are of
    one stride, and none of them is a first stage.
    """
    maps = [entry for entry in network.feature_info if entry["reduction"] <= stride]  # type: ignore[union-attr]
    if not maps:
        return []
    # In order of registration, which is that of the forward pass; parts after their parent.
    names = [name for name, _ in network.named_modules()]
    last = str(maps[-1]["module"])
    end = max(place for place, name in enumerate(names) if f"{name}.".startswith(f"{last}."))
    attached = _attached(network)
    return [
        parameter
        for module in list(network.modules())[: end + 1]
        for parameter in module.parameters(recurse=False)
        if id(parameter) not in attached
    ]


def _attached(network: nn.Module) -> set[int]:
    """Return the ids of the parameters of attention between the stages."""
    return {
        id(parameter)
        for module in network.modules()
        if isinstance(module, SEAttention)
        for parameter in module.parameters()
    }


def _all_but_last_convolutions(network: nn.Module, count: int, section: str) -> list[nn.Parameter]:
    """Return the parameters of all layers before the count-th last convolution."""
    convolutions = _count_convolutions(network)
    embedding = getattr(network, "patch_embed", nn.Identity())  # of ViT and its like
    if count and convolutions == _count_convolutions(embedding):
        raise InputError(
            f"{section}.last_convolutions = {count}: the blocks of {type(network).__name__} have "
            f"no convolutions; name {section}.first_tensors instead"
        )
    if count > convolutions:
        raise InputError(
            f"{section}.last_convolutions = {count}: {type(network).__name__} has {convolutions}; "
            "name fewer, or -1 to train the whole backbone"
        )
    layers = _layers(network)
    return [parameter for layer in layers[: len(layers) - count] for parameter in layer]


def _count_convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in _children_first(module))


def _layers(network: nn.Module) -> list[list[nn.Parameter]]:
    """Return the parameters of each convolution with all that follows it up to the next.

    Layers are in order of registration, which is that of the forward pass but for branches: a
    shortcut's convolution comes after those of its block. What follows a convolution belongs to
    it: norms, linear layers, a block's own scales. The two 1x1 convolutions of
    squeeze-and-excitation count like others; attention's do not, it is always trained. The first
    list is what comes before any convolution, most often nothing.
    """
    layers: list[list[nn.Parameter]] = [[]]
    for module in _children_first(network):
        if isinstance(module, nn.Conv2d):
            layers.append([])
        layers[-1].extend(module.parameters(recurse=False))
    return layers


def _children_first(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module's parts before itself, so that a block's own parameters come last."""
    if isinstance(module, SEAttention):
        return
    for child in module.children():
        yield from _children_first(child)
    yield module
