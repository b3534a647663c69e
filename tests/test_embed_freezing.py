"""Freezing: which parameters it names, and that training leaves exactly them as they were."""

import pytest
import torch
from torch import nn

from embed.backbone import BackboneSpec
from embed.freezing import freeze, freeze_batch_norm, keep_frozen_norms
from embed.model import DescriptorModel, ModelSpec
from embed.train_settings import FreezeSettings, TrainSettings

HEAD = 5  # classes


def build(name: str, kind: str = "none") -> tuple[DescriptorModel, nn.Linear]:
    """Build a small model with an input norm, and a head."""
    torch.manual_seed(0)
    attention = TrainSettings.model_validate({"attention": {"kind": kind}}).attention
    spec = ModelSpec(BackboneSpec(name), 64, dim=8, input_norm=True, attention=attention)
    return DescriptorModel(spec), nn.Linear(8, HEAD)


def trained(model: DescriptorModel) -> list[str]:
    """Name what is trained of timm's network, and check that all around it is."""
    named = dict(model.named_parameters())
    around = {n: p for n, p in named.items() if not n.startswith("backbone.network.")}
    assert around and all(parameter.requires_grad for parameter in around.values())
    return [
        name.removeprefix("backbone.network.")
        for name, parameter in named.items()
        if parameter.requires_grad and name not in around
    ]


def train_step(model: DescriptorModel, head: nn.Module) -> None:
    model.train()
    keep_frozen_norms(model)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    head(model.features(images)).pow(2).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


RESNET18_LAST_3 = [
    "layer4.0.downsample.0.weight",
    "layer4.0.downsample.1.weight",
    "layer4.0.downsample.1.bias",
    "layer4.1.conv1.weight",
    "layer4.1.bn1.weight",
    "layer4.1.bn1.bias",
    "layer4.1.conv2.weight",
    "layer4.1.bn2.weight",
    "layer4.1.bn2.bias",
]
MOBILENET_LAST_2 = [
    "blocks.6.0.conv_pwl.weight",
    "blocks.6.0.bn3.weight",
    "blocks.6.0.bn3.bias",
    "conv_head.weight",
    "bn2.weight",
    "bn2.bias",
]


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("resnet18", 0, []),
        ("resnet18", 1, RESNET18_LAST_3[-3:]),
        ("resnet18", 3, RESNET18_LAST_3),
        ("mobilenetv2_100", 0, []),
        ("mobilenetv2_100", 2, MOBILENET_LAST_2),
    ],
)
def test_the_last_convolutions_are_trained_with_their_norms(
    name: str, count: int, expected: list[str]
) -> None:
    model, head = build(name)
    freeze(model, head, FreezeSettings(last_convolutions=count))
    assert trained(model) == expected
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_all_convolutions_are_the_whole_network() -> None:
    # sum(isinstance(m, nn.Conv2d) for m in timm.create_model("resnet18").modules()) = 20
    model, head = build("resnet18")
    freeze(model, head, FreezeSettings(last_convolutions=20))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_block_s_own_scale_belongs_to_its_convolution() -> None:
    model, head = build("convnext_atto")
    freeze(model, head, FreezeSettings(last_convolutions=1))
    assert "stages.3.blocks.1.gamma" in trained(model)
    assert not any(name.startswith("stages.3.blocks.0") for name in trained(model))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100"])
def test_the_first_tensors_are_not_trained(name: str) -> None:
    model, head = build(name)
    names = [n for n, _ in model.backbone.network.named_parameters()]
    for count in (0, 1, 40, len(names)):
        freeze(model, head, FreezeSettings(first_tensors=count))
        assert trained(model) == names[count:]


@pytest.mark.parametrize(
    ("name", "stride", "first"),
    [
        # The first tensor after the last map of at most the stride, by timm's feature_info:
        # [(e["module"], e["reduction"]) for e in timm.create_model(name).feature_info]
        ("mobilenetv2_100", 8, "blocks.3.0.conv_pw.weight"),
        ("mobilenetv2_100", 15, "blocks.3.0.conv_pw.weight"),
        ("mobilenetv2_100", 16, "blocks.5.0.conv_pw.weight"),
        ("resnet18", 2, "layer1.0.conv1.weight"),
        ("resnet18", 8, "layer3.0.conv1.weight"),
        ("convnext_atto", 8, "stages.2.downsample.0.weight"),
        ("vit_tiny_patch16_224", 8, "cls_token"),  # none is: all its maps are of stride 16
    ],
)
def test_layers_up_to_a_stride_are_not_trained(name: str, stride: int, first: str) -> None:
    model, head = build(name)
    names = [n for n, _ in model.backbone.network.named_parameters()]
    freeze(model, head, FreezeSettings(stride=stride))
    assert trained(model) == names[names.index(first) :]


def test_what_either_setting_names_is_frozen() -> None:
    model, head = build("resnet18")
    total = len(list(model.backbone.network.parameters()))
    freeze(model, head, FreezeSettings(last_convolutions=3, first_tensors=total - 2))
    assert trained(model) == RESNET18_LAST_3[-2:]


def test_a_later_call_thaws_what_an_earlier_one_froze() -> None:
    model, head = build("resnet18")
    freeze(model, head, FreezeSettings(last_convolutions=0, head=True))
    assert not any(parameter.requires_grad for parameter in head.parameters())
    freeze(model, head, FreezeSettings())
    assert all(p.requires_grad for p in [*model.parameters(), *head.parameters()])


def test_attention_between_stages_is_trained_and_not_counted() -> None:
    plain, head = build("resnet18")
    model, _ = build("resnet18", "se")
    limits = ({"last_convolutions": 7}, {"first_tensors": 50}, {"stride": 8})
    for settings in map(FreezeSettings.model_validate, limits):
        freeze(plain, head, settings)
        freeze(model, head, settings)
        names = trained(model)
        inside = {name for name, _ in model.named_parameters() if ".attention." in name}
        assert inside and {name for name in names if ".attention." in name} == {
            name.removeprefix("backbone.network.") for name in inside
        }
        stages = [name.replace("stage.", "") for name in names if ".attention." not in name]
        assert stages == trained(plain)


@pytest.mark.parametrize(
    "settings",
    [
        FreezeSettings(last_convolutions=0),
        FreezeSettings(last_convolutions=2),
        FreezeSettings(first_tensors=40, head=True),
    ],
)
def test_a_step_leaves_the_frozen_as_they_are_and_changes_all_others(
    settings: FreezeSettings,
) -> None:
    model, head = build("mobilenetv2_100", "self")
    nn.init.ones_(model.attention.gamma)  # type: ignore[arg-type]
    train_step(model, head)  # leaves moments and gradients that must not be applied any more
    freeze(model, head, settings)
    both = nn.ModuleList([model, head])
    before = {name: p.detach().clone() for name, p in both.named_parameters()}
    train_step(model, head)
    for name, parameter in both.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_the_statistics_of_frozen_norms_stay_and_those_of_others_move() -> None:
    model, head = build("resnet18")
    freeze(model, head, FreezeSettings(last_convolutions=1))
    before = {name: b.clone() for name, b in model.named_buffers() if "running" in name}
    train_step(model, head)
    moved = {
        name for name, b in model.named_buffers() if name in before and not b.equal(before[name])
    }
    norms = ("backbone.input_norm", "backbone.network.layer4.1.bn2", "neck_norm")
    assert moved == {f"{norm}.running_{kind}" for norm in norms for kind in ("mean", "var")}


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_may_stay_while_weights_are_trained(frozen: bool) -> None:
    network = build("test_resnet", "se")[0].backbone.network.train()
    if frozen:
        freeze_batch_norm(network)
    before = {name: b.clone() for name, b in network.named_buffers() if "running" in name}
    network(torch.rand(4, 3, 64, 64)).sum().backward()
    moved = {name for name, b in network.named_buffers() if not b.equal(before.get(name, b))}
    # What is attached between the stages has no statistics of before to keep.
    attached = {name for name in before if ".attention." in name}
    assert attached and moved == (attached if frozen else set(before))
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_gradient_from_before_is_not_applied() -> None:
    model, head = build("test_resnet")
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1)
    head(model.features(torch.randn(4, 3, 64, 64))).sum().backward()
    freeze(model, head, FreezeSettings(last_convolutions=0, head=True))
    before = [p.detach().clone() for p in model.backbone.network.parameters()]
    optimizer.step()
    assert all(map(torch.equal, before, model.backbone.network.parameters()))


def test_more_than_there_is_cannot_be_named_and_changes_nothing() -> None:
    model, head = build("resnet18")
    freeze(model, head, FreezeSettings(last_convolutions=1))
    # resnet18 without its classifier: 20 convolutions and as many norms of 2 tensors
    with pytest.raises(ValueError, match=r"train\.freeze\.first_tensors = 61: ResNet has 60"):
        freeze(model, head, FreezeSettings(first_tensors=61))
    with pytest.raises(ValueError, match=r"train\.freeze\.last_convolutions = 21: ResNet has 20"):
        freeze(model, head, FreezeSettings(last_convolutions=21))
    assert trained(model) == RESNET18_LAST_3[-3:]


def test_transformers_count_tensors_not_convolutions() -> None:
    model, head = build("test_vit")
    with pytest.raises(ValueError, match=r"no convolutions; name train\.freeze\.first_tensors"):
        freeze(model, head, FreezeSettings(last_convolutions=1))
    freeze(model, head, FreezeSettings(last_convolutions=0))
    assert trained(model) == []
    freeze(model, head, FreezeSettings(first_tensors=10))
    assert len(trained(model)) == len(list(model.backbone.network.parameters())) - 10
