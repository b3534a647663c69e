"""The optimizer of training, with a rate and a decay for each kind of parameter."""

import torch
from torch import nn

from .attention import SEAttention
from .train_settings import TrainSettings


def build_optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return AdamW, Adam or SGD with a rate for the backbone and one for all that starts at random.

    Frozen parameters are in it, too: a later stage may train them. Without a gradient they stay as
    they are, and do not decay. Each group says in `inner` whether it is of the backbone, so that
    schedules and stages know which rate is its own.

    Args:
        module: with the backbone as model.backbone.
        settings: optimizer, learning_rate, head_learning_rate, weight_decay and momentum (SGD's,
            Nesterov's). Adam adds the decay to the gradient, AdamW takes it off the parameter.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    # Attention between the stages of the backbone starts at random, as all outside it does.
    attached = {
        parameter
        for part in module.modules()
        if isinstance(part, SEAttention)
        for parameter in part.parameters()
    }
    for name, parameter in module.named_parameters():
        inner = name.startswith("model.backbone.network.") and parameter not in attached
        # Norms, biases and the pooling exponent have nothing to decay towards.
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((inner, decay), []).append(parameter)
    # In the order of appearance: a checkpoint knows the groups by their place.
    rates = {True: settings.learning_rate, False: settings.head_learning_rate}
    options = [
        {"params": parameters, "lr": rates[inner], "weight_decay": decay, "inner": inner}
        for (inner, decay), parameters in groups.items()
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=settings.momentum, nesterov=settings.momentum > 0)
    if settings.optimizer == "adam":
        return torch.optim.Adam(options)
    return torch.optim.AdamW(options)
