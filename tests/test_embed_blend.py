"""Mixing weights: the ends are the two models, the middle is between."""

import pytest
import torch

from embed.backbone import BackboneSpec
from embed.blend import blend
from embed.model import DescriptorModel, ModelSpec


def make_model(seed: int) -> DescriptorModel:
    torch.manual_seed(seed)
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), 32, dim=8)).eval()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_backbone_is_mixed_and_the_rest_is_as_trained(share: float) -> None:
    tuned, start = make_model(1), make_model(2)
    before = {name: tensor.clone() for name, tensor in tuned.state_dict().items()}
    mixed, first = blend(tuned, start, share).state_dict(), start.state_dict()
    for name, tensor in before.items():
        wanted = tensor
        if name.startswith("backbone.") and tensor.dtype.is_floating_point:
            wanted = share * tensor + (1 - share) * first[name]
        torch.testing.assert_close(mixed[name], wanted)
        torch.testing.assert_close(tuned.state_dict()[name], tensor, rtol=0, atol=0)
    images = torch.rand(2, 3, 32, 32)
    if share == 1:
        torch.testing.assert_close(blend(tuned, start, 1.0)(images), tuned(images))
