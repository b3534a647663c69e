"""Every number of a recipe: what has no sense is refused by the recipe, and its key is named."""

import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from classify_head.policy import Policy
from embed.settings import Settings
from embed.train_settings import AugmentSettings
from pipelines.runs.recipe import Recipe, make_recipe
from pipelines.runs.recipe_files import Values

HUGE_INT, HUGE = 10**30, 1e300
# What -1 says there: all convolutions; or a cosine or a threshold that may be below 0.
NEGATIVE = {
    "train.freeze.last_convolutions",
    "train.phases.0.freeze.last_convolutions",
    "decide.steps.penalty.query-gate.above",
    "decide.steps.rescoring.label-agreement.agree",
    "decide.steps.rescoring.label-agreement.disagree",
    "decide.steps.fusion.beta-mix.threshold",
    "decide.steps.rejection.threshold.threshold",
}
AUGMENTATIONS = set(AugmentSettings.model_fields) - {
    *("preset", "crop", "crop_min_area", "crop_max_aspect", "jpeg_quality")
}
# 0 switches it off, or is an amount like others: of probabilities, shares, seeds and weights.
ZERO = NEGATIVE | {
    *("train.freeze.stride", "train.phases.0.freeze.stride"),
    *("train.unseen_share", "train.pretrained_share"),
    *("data.cap", "data.keep", "data.max_count", "data.min_count", "data.seed", "data.top"),
    *("data.test", "data.validation", "embed.regions.overlap"),
    *("train.dim", "train.epochs", "train.batch_size", "train.epoch_steps", "train.memory"),
    *(
        "train.cache_gigabytes",
        "train.warmup",
        "train.patience",
        "train.validation_share",
        "train.seed",
    ),
    *("train.weight_decay", "train.momentum", "train.focal_gamma"),
    *("train.triplet_weight", "train.head_weight", "train.local_weight"),
    *("train.head.dropout", "train.head.margin", "train.head.least_margin"),
    *("train.freeze.first_tensors", "train.phases.0.freeze.first_tensors"),
    *(f"train.balance.{name}" for name in ("cap", "min_count", "set_number", "upsample_to")),
    *(f"train.augment.{name}" for name in AUGMENTATIONS),
    *("search.expand_query", "search.augment_database", "search.alpha"),
    *("search.whiten_dim", "search.whiten_power"),
    *("train.pooling.region_share", "rerank.refine", "rerank.refine_beta"),
    *("embed.crops", "rerank.delf.seed", "rerank.delf.score_threshold"),
    *("decide.distractor_share", "decide.least_probability", "decide.reject_share"),
    "decide.reject_below",
    "decide.steps.fusion.times-head.power",
    *(f"decide.steps.fusion.weighted.{name}" for name in ("inlier_weight", "penalty_weight")),
    "decide.steps.fusion.weighted.min_inliers",
    *("decide.steps.fusion.inliers-mix.share", "decide.steps.fusion.beta-mix.beta"),
    *(f"decide.steps.rejection.torino.{name}" for name in ("confirm_most", "confirm_mean")),
    *(
        "decide.steps.rejection.torino.reject_mean",
        "decide.steps.rejection.se-attention.least_mean",
    ),
    "decide.steps.rejection.landmark-head.threshold",
}
# Which kind of a section the number is of.
KINDS = {
    **{"train.attention.trunk": "se", "train.attention.mask": "se"},
    **{"train.pooling.levels": "rmac", "train.pooling.grid": "flatten"},
    **{"train.pooling.bilinear_dim": "bilinear", "train.pooling.token_share": "cls-gem"},
    "train.head.dropout": "linear",
    **{f"train.pooling.{name}": "dolg" for name in ("width", "stride", "dilations.0")},
    **{
        f"train.pooling.{name}": "superglobal"
        for name in ("region", "region_p", "region_share", "least")
    },
    **{f"train.head.{name}": "subcenter" for name in ("margin", "least_margin", "centers")},
}
# Rejects all guesses, or none.
INFINITE = "decide.steps.rejection.threshold.threshold"


def numeric_types(annotation: Any) -> set[type]:
    """Return which of int and float a type is, or may be."""
    if get_origin(annotation) is not None:
        return set().union(*map(numeric_types, get_args(annotation)))
    numbers = {kind for kind in (int, float) if annotation is kind}
    return numbers | ({int} if isinstance(annotation, int) and annotation is not True else set())


def walk(
    kind: type[Settings], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type]]:
    """Yield the place and the type of every number in settings, in tuples and tables too."""
    for name, field in kind.model_fields.items():
        yield from _walk_field(field, (*above, name))


def _walk_field(field: FieldInfo, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type]]:
    annotation, many = field.annotation, get_origin(field.annotation) is tuple
    sections = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
    for section in sections:
        if issubclass(section, Settings):
            yield from walk(section, (*place, "0") if many else place)
    if any(issubclass(section, Settings) for section in sections):
        return
    for number in numeric_types(annotation) - {bool}:
        yield (*place, "0") if many else place, number


def list_numbers() -> dict[str, type]:
    found = {".".join(place): number for place, number in walk(Recipe)}
    return {key: kind for key, kind in found.items() if not key.startswith("decide.steps")}


def list_steps() -> dict[tuple[str, str], dict[str, type]]:
    """Return the numbers of each function that a step of a policy may be, by step and name."""
    found = {}
    for step, field in Policy.model_fields.items():
        for function in get_args(field.annotation) or (field.annotation,):
            if isinstance(function, type) and issubclass(function, Settings):
                numbers = {".".join(place): number for place, number in walk(function)}
                found[step, function.model_fields["name"].default] = numbers
    return found


def place_value(key: str, value: Any) -> Values:
    """Return a recipe that says the value, and whatever goes with it."""
    for part in reversed(key.split(".")):
        value = [value] if part == "0" else {part: value}
    values: Values = value
    if key.startswith("train.phases"):
        values["train"]["phases"][0].setdefault("epochs", 10)
    if key in ("data.validation", "data.test"):
        values["data"] |= {"split": "shares"} if key == "data.test" else {"split": "by-size"}
    if key in KINDS:
        values["train"][key.split(".")[1]]["kind"] = KINDS[key]
    if key == "train.balance.set_number":
        values["train"]["balance"]["cap"] = 5
    if key == "ensemble.weights.0":
        values["ensemble"] |= {"rule": "weighted", "members": {"a": {}}}
    return values


def refusal(values: Values) -> str:
    try:
        make_recipe(values, "test")
    except ValueError as error:
        return str(error)
    return ""


NUMBERS = list_numbers()
STEPS = [(*of, key) for of, numbers in list_steps().items() for key in numbers]


def test_all_sections_are_walked() -> None:
    sections = {key.partition(".")[0] for key in NUMBERS}
    assert sections == {
        "data",
        "decode",
        "train",
        "ensemble",
        "embed",
        "search",
        "rerank",
        "decide",
    }
    assert {"train.phases.0.learning_rate", "embed.scales.0", *KINDS} <= set(NUMBERS)
    assert len(NUMBERS) > 100 and len(STEPS) > 25


@pytest.mark.parametrize("key", NUMBERS)
def test_what_has_no_sense_is_refused_and_named(key: str) -> None:
    huge = HUGE_INT if NUMBERS[key] is int else HUGE
    for value in (math.nan, math.inf, -math.inf, huge, -huge):
        message = refusal(place_value(key, value))
        assert f"{key} = {value!r}" in message, (value, message)
        assert "\n" not in message
    for value, allowed in ((-1, NEGATIVE), (0, ZERO)):
        message = refusal(place_value(key, value))
        assert is_named(key, value, message) != (key in allowed and not message), message
        assert bool(message) != (key in allowed), (key, value)


def is_named(key: str, value: float, message: str) -> bool:
    """Tell whether a refusal names the key; one of a whole section says so, and its last part."""
    *above, last = key.removesuffix(".0").split(".")
    section = f"[{'.'.join(above)}]"
    return f"{key} = {value!r}" in message or (section in message and last in message)


@pytest.mark.parametrize(("step", "name", "number"), STEPS)
def test_a_number_of_a_policy_without_sense_is_refused_and_named(
    step: str, name: str, number: str
) -> None:
    key = f"decide.steps.{step}.{name}.{number}"
    huge = HUGE_INT if list_steps()[step, name][number] is int else HUGE
    senseless = {math.nan, huge, -huge, *([] if key == INFINITE else [math.inf, -math.inf])}
    senseless |= {value for value, allowed in ((-1, NEGATIVE), (0, ZERO)) if key not in allowed}
    for value in (*senseless, -1, 0, 1):
        steps = {step: {"name": name, number: value}}
        decide = {"policy": "top1", "steps": steps, "landmark_head": True}
        message = refusal({"decide": decide})
        assert bool(message) == (value in senseless), (value, message)
        assert not message or ("[decide]" in message and f"{number} = {value!r}" in message)
