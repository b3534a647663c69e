"""Mix the weights of a pretrained network with those that it was trained to.

Between the two, features are better than at either end: on what was trained on nearly as good as
trained ones, on all else better than both.

Source: Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), CVPR 2022, equation 1.
"""

import copy

import torch

from .model import DescriptorModel


def blend(tuned: DescriptorModel, start: DescriptorModel, share: float) -> DescriptorModel:
    """Return a copy of a model whose backbone lies between where it started and where it is.

    What is around the backbone stays as it was trained: most of it started at random.

    Args:
        tuned: after training, on any device.
        start: before it; of the same spec.
        share: of the tuned weights, 0 to 1; the others are those of the start.
    """
    mixed = copy.deepcopy(tuned)
    before = start.backbone.state_dict()
    with torch.no_grad():
        for name, tensor in mixed.backbone.state_dict().items():
            if tensor.dtype.is_floating_point:  # not the counter of batches of a norm
                tensor.lerp_(before[name].to(tensor.device), 1 - share)
    return mixed
