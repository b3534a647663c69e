"""What settings name within a network is judged before it has any weights."""

import pytest
import torch

from embed.network_check import check_network
from embed.train_settings import TrainSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pooling": {"kind": "dolg", "stride": 64}},
            r"train\.pooling\.stride = 64: ResNet has no .* only of \[2, 4, 8, 16, 32\]",
        ),
        ({"freeze": {"first_tensors": 61}}, r"train\.freeze\.first_tensors = 61: ResNet has 60"),
        (
            {
                "epochs": 2,
                "phases": [{"epochs": 1}, {"epochs": 1, "freeze": {"last_convolutions": 21}}],
            },
            r"train\.phases\.1\.freeze\.last_convolutions = 21: ResNet has 20",
        ),
    ],
)
def test_what_the_network_lacks_is_named_with_its_setting(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_network(TrainSettings.model_validate({"backbone": "resnet18", **settings}))


def test_no_weights_are_made() -> None:
    settings = TrainSettings.model_validate({"backbone": "resnet18", "pooling": {"kind": "dolg"}})
    parameters = list(check_network(settings).parameters())
    assert {parameter.device for parameter in parameters} == {torch.device("meta")}
