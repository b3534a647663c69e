"""The optimizer of training: a rate and a decay for each kind of parameter, frozen or not."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from embed.attention import SEAttention
from embed.optimizer import build_optimizer
from embed.train_settings import TrainSettings


class Parts(nn.Module):
    """What a training model is made of, as far as names and shapes go."""

    def __init__(self) -> None:
        """Build one of each kind."""
        super().__init__()
        stage = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        # CSPNeXt has attention of its own by this name, pretrained as all else.
        layer = nn.ModuleDict({"stage": stage, "attention": nn.Conv2d(4, 4, 1, bias=False)})
        backbone = nn.ModuleDict({"network": nn.ModuleDict({"layer1": layer})})
        backbone["input_norm"] = nn.BatchNorm2d(3)
        attention = parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))
        pool = nn.ParameterDict({"p": nn.Parameter(torch.tensor(3.0))})
        self.model = nn.ModuleDict({"backbone": backbone, "attention": attention, "pool": pool})
        self.head = nn.Linear(4, 2)


SETTINGS = TrainSettings(learning_rate=1e-3, head_learning_rate=0.5, weight_decay=0.1, momentum=0.9)
KINDS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def build(module: nn.Module, kind: str, **changes: object) -> torch.optim.Optimizer:
    changed = SETTINGS.model_copy(update={"optimizer": kind, **changes})
    return build_optimizer(module, changed)


@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_has_the_rate_and_decay_of_its_kind(kind: str) -> None:
    module = Parts()
    optimizer = build(module, kind)
    assert type(optimizer) is KINDS[kind]
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    network = "model.backbone.network.layer1"
    expected = {
        f"{network}.stage.0.weight": (1e-3, 0.1, True),
        f"{network}.stage.0.bias": (1e-3, 0.0, True),
        f"{network}.stage.1.weight": (1e-3, 0.0, True),
        f"{network}.stage.1.bias": (1e-3, 0.0, True),
        f"{network}.attention.weight": (1e-3, 0.1, True),
        "model.backbone.input_norm.weight": (0.5, 0.0, False),
        "model.backbone.input_norm.bias": (0.5, 0.0, False),
        "model.attention.bias": (0.5, 0.0, False),
        "model.attention.parametrizations.weight.original": (0.5, 0.1, False),
        "model.pool.p": (0.5, 0.0, False),
        "head.weight": (0.5, 0.1, False),
        "head.bias": (0.5, 0.0, False),
    }
    assert {
        name: tuple(groups[id(p)][key] for key in ("lr", "weight_decay", "inner"))
        for name, p in module.named_parameters()
    } == expected
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(expected)


def test_attention_behind_a_stage_has_the_rate_of_what_starts_at_random() -> None:
    module = Parts()
    attached = SEAttention(4)
    module.get_submodule("model.backbone.network").add_module("behind", attached)
    groups = {id(p): group for group in build(module, "sgd").param_groups for p in group["params"]}
    assert all(not groups[id(parameter)]["inner"] for parameter in attached.parameters())


def test_groups_come_in_the_order_of_their_first_parameters() -> None:
    # A checkpoint knows them by place alone.
    groups = build(Parts(), "adamw").param_groups
    assert [(group["inner"], group["weight_decay"]) for group in groups] == [
        *[(True, 0.1), (True, 0.0), (False, 0.0), (False, 0.1)]
    ]


def test_equal_rates_leave_the_backbone_in_groups_of_its_own() -> None:
    groups = build(Parts(), "adamw", head_learning_rate=1e-3).param_groups
    assert [group["inner"] for group in groups] == [True, True, False, False]


def step(module: Parts, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    features = module.get_submodule("model.backbone.network.layer1.stage")(torch.ones(2, 3, 1, 1))
    module.head(features.flatten(1)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_neither_moves_nor_decays_until_it_is_thawed(kind: str) -> None:
    torch.manual_seed(0)
    module = Parts()
    stage = module.get_submodule("model.backbone.network.layer1.stage")
    optimizer = build(module, kind)
    step(module, optimizer)  # some momentum, which must not carry frozen weights on
    stage.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    step(module, optimizer)
    for name, parameter in module.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == name.startswith("head."), name
    stage.requires_grad_(True)
    step(module, optimizer)
    name = "model.backbone.network.layer1.stage.0.weight"
    assert not torch.equal(module.get_parameter(name), before[name])


def test_adam_is_that_of_torch_with_its_decay_in_the_gradient() -> None:
    torch.manual_seed(0)
    ours, known = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    known.load_state_dict(ours.state_dict())
    optimizers = (
        build(ours, "adam"),
        torch.optim.Adam(known.parameters(), lr=0.5, weight_decay=0.1),
    )
    for module, optimizer in zip((ours, known), optimizers, strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.ones(1, 3)).sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, known.weight)
