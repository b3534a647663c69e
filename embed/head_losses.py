"""The losses of the classification head: cross entropy, and focal loss for hard images."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss

from .train_settings import TrainSettings


def head_loss(logits: Tensor, labels: Tensor, settings: TrainSettings) -> Tensor:
    """Return the mean loss of a batch that the settings name, a scalar.

    Args:
        logits: [B, C] float32.
        labels: [B] int64, 0 to C - 1.
        settings: head_loss and, for the focal loss, focal_gamma.
    """
    if settings.head_loss == "focal":
        return focal_loss(logits, labels, settings.focal_gamma)
    return cross_entropy(logits, labels)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Return the mean of -(1 - p)^gamma log p, where p is the probability of the right class.

    Images that are told well already count less. With gamma 0 it is the cross entropy.

    1 - p is taken as the sum over the other classes, and the power in logarithms: close to p = 1
    the difference would round to 0, where the slope of a power below 1 is infinite.

    Args:
        logits: [B, C] float32.
        labels: [B] int64, 0 to C - 1.
        gamma: 0 or more.

    >>> logits = torch.tensor([[1.0, 3.0]]).log()  # probabilities 1/4 and 3/4
    >>> round(focal_loss(logits, torch.tensor([1]), gamma=2.0).item(), 4)  # 1/16 ln 4/3
    0.018

    Source: Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection, 2017, equation
    4, over a softmax instead of a sigmoid a class (which torchvision has) and without alpha.
    """
    log_probabilities = logits.log_softmax(dim=1)
    losses = nll_loss(log_probabilities, labels, reduction="none")
    # The least number, not -inf: with a single class nothing is left, and its gradient is not nan.
    least = torch.finfo(logits.dtype).min
    others = log_probabilities.scatter(1, labels[:, None], least).logsumexp(dim=1)
    return ((gamma * others).exp() * losses).mean()
