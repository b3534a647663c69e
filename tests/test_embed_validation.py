"""What pydantic found wrong is said in the words of settings."""

import pytest
from pydantic import Field, ValidationError

from embed.settings import Settings
from embed.validation import explain, list_errors


class Some(Settings):
    """One setting of each type."""

    count: int = Field(3, gt=0)
    share: float = Field(0.5, lt=1)
    sides: tuple[int, ...] = Field((1,), min_length=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": "many"}, ["expected a whole number"]),
        ({"count": 0, "share": 1}, ["expected more than 0", "expected less than 1.0"]),
        ({"sides": 2}, ["expected a list: [2]"]),
        ({"sides": []}, ["expected 1 or more of them"]),
        ({"sides": ["a"]}, ["expected a whole number"]),
        ({"count": 2**60}, ["expected no more than 9e+15 either way"]),
    ],
)
def test_each_mistake_is_explained_once(values: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Some.model_validate(values)
    assert [explain(found) for found in list_errors(caught.value)] == expected
