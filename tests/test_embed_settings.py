"""Settings of training: phases are those of the training but for what they say, nonsense fails."""

from typing import Any

import pytest
from pydantic import ValidationError

from embed.train_settings import FreezeSettings, Phase, PhaseSettings, TrainSettings

FROZEN = FreezeSettings(last_convolutions=0)


def test_an_epoch_has_what_its_stage_says_and_else_what_the_training_says() -> None:
    settings = TrainSettings(
        epochs=5,
        image_size=64,
        learning_rate=0.1,
        head_learning_rate=0.2,
        phases=(
            PhaseSettings(epochs=2, image_size=32, freeze=FROZEN),
            PhaseSettings(epochs=3, learning_rate=0.01, head_learning_rate=0.02),
        ),
    )
    first = Phase(0, 2, 32, 0.1, 0.2, FROZEN)
    second = Phase(2, 3, 64, 0.01, 0.02, FreezeSettings())
    assert [settings.phase_at(epoch) for epoch in range(5)] == [first] * 2 + [second] * 3


def test_without_stages_all_epochs_are_of_one() -> None:
    settings = TrainSettings(epochs=3, image_size=64, freeze=FROZEN)
    assert {settings.phase_at(epoch) for epoch in range(3)} == {
        Phase(0, 3, 64, settings.learning_rate, settings.head_learning_rate, FROZEN)
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 3, "phases": [{"epochs": 1}, {"epochs": 1}]}, "add up to 2, not to 3"),
        ({"dim": 1}, "a descriptor of length 1 tells nothing apart"),
        ({"epoch_steps": 10, "epoch_share": 0.5}, r"set epoch_share \(now 0\.5\) to 1"),
        ({"judge": "head", "head_weight": 0.0}, "the head learns nothing, but judge is 'head'"),
        ({"triplet_weight": 0.0, "head_weight": 0.0}, "and triplet_weight 0: raise head_weight"),
        ({"memory": 100, "triplet_weight": 0.0}, "memory 100 serves the metric loss"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainSettings.model_validate(values)
