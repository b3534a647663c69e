"""The optimizer of training: a rate and a decay for each kind of parameter, and the schedule."""

import pytest
import torch
from torch import nn

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec
from embed.settings import TrainSettings
from embed.train import TrainingModel, build_optimizer, rate_factor


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_each_parameter_has_the_rate_and_decay_of_its_kind(name: str, kind: type) -> None:
    settings = TrainSettings(learning_rate=1e-3, head_learning_rate=0.5, weight_decay=1e-2)
    settings = settings.model_copy(update={"optimizer": name})
    model = DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), 32, 8))
    module = TrainingModel(model, nn.Linear(8, 3))
    optimizer = build_optimizer(module, settings)
    assert isinstance(optimizer, kind)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(groups) == len(list(module.parameters()))
    for parameter, rate, decay in (
        (model.backbone.network.conv1[0].weight, 1e-3, 1e-2),
        (model.backbone.network.bn1.weight, 1e-3, 0.0),
        (model.pool.p, 0.5, 0.0),
        (model.neck.weight, 0.5, 1e-2),
    ):
        group = groups[id(parameter)]
        assert (group["lr"], group["weight_decay"]) == (rate, decay)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 100])
def test_the_rate_rises_to_its_full_value_and_falls(steps: int, warmup: float) -> None:
    factors = [rate_factor(step, steps, warmup) for step in range(steps)]
    top = factors.index(max(factors))
    assert factors[top] == 1 and 0 < min(factors)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
