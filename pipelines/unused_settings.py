"""Tell which settings of a recipe change nothing, because another one switches them off.

Knows names of settings and what they depend on, not what they do. Reads and writes no files.
"""

from typing import Any

from classify_head.policies import POLICIES
from embed.settings import Settings

from .recipe import Recipe, member_recipe

OTHER_POLICIES = tuple(name for name in POLICIES if name != "calibrated")
MANY = 5  # values that a reason names at most

# A setting, and each one that it depends on with the values with which it is used; without values,
# all but 0, false and "none".
USED_WITH: dict[str, dict[str, tuple[Any, ...]]] = {
    "data.sizes": {"data.split": ("by-size",)},
    "train.attention.trunk": {"train.attention.kind": ("se",)},
    "train.attention.mask": {"train.attention.kind": ("se",)},
    "train.pooling.p": {"train.pooling.kind": ("gem",)},
    "train.pooling.levels": {"train.pooling.kind": ("rmac",)},
    "train.pooling.grid": {"train.pooling.kind": ("flatten",)},
    "train.pooling.bilinear_dim": {"train.pooling.kind": ("bilinear",)},
    "train.head.dropout": {"train.head.kind": ("linear",)},
    "train.head.margin": {"train.head.kind": ("arcface", "cosface", "subcenter")},
    "train.head.least_margin": {"train.head.kind": ("subcenter",)},
    "train.head.centers": {"train.head.kind": ("subcenter",)},
    "train.head_scale": {
        "train.head.kind": ("cosine", "hadamard", "arcface", "cosface", "subcenter")
    },
    "train.focal_gamma": {"train.head_loss": ("focal",)},
    "train.metric_loss": {"train.triplet_weight": ()},
    "train.margin": {"train.metric_loss": ("triplet", "contrastive")},
    "train.miner": {"train.metric_loss": ("triplet",)},
    # With groups of a class a batch has classes_per_batch times images_per_class images.
    "train.batch_size": {
        "train.sampler": ("uniform", "square-root", "class-balanced"),
        "train.triplet_weight": (0,),
    },
    "train.momentum": {"train.optimizer": ("sgd",)},
    "train.decay": {"train.schedule": ("step", "plateau")},
    "train.step_epochs": {"train.schedule": ("step",)},
    "train.plateau_epochs": {"train.schedule": ("plateau",)},
    "embed.crop_share": {"embed.crops": ()},
    "search.whiten_dim": {"search.whiten": ()},
    "search.whiten_power": {"search.whiten": ()},
    "rerank.nearest": {"rerank.matching": ("aggregated",)},
    "rerank.hub_model": {"rerank.method": ("delf-hub",)},
    "decide.least_probability": {
        "decide.policy": ("calibrated",),
        "decide.min_precision": (None,),
        "decide.rejection": ("none",),
    },
    "decide.reject_share": {
        "decide.policy": OTHER_POLICIES,
        "decide.min_precision": (None,),
        "decide.rejection": ("none",),
    },
    "decide.reject_below": {
        "decide.policy": OTHER_POLICIES,
        "decide.min_precision": (None,),
        "decide.rejection": ("none",),
    },
}


def find_unused(recipe: Recipe) -> dict[str, str]:
    """Return the settings that are not the defaults and change nothing, each with the reason.

    Of an ensemble those that none of its models uses.

    >>> recipe = Recipe.model_validate({"train": {"head": {"dropout": 0.5}}})
    >>> find_unused(recipe)
    {'train.head.dropout': "train.head.kind is 'cosine', not 'linear'"}
    """
    models = [member_recipe(recipe, name) for name in recipe.ensemble.members] or [recipe]
    first, *others = map(_find_unused, models)
    return {key: reason for key, reason in first.items() if all(key in other for other in others)}


def _find_unused(recipe: Recipe) -> dict[str, str]:
    usual = Recipe()
    changed = [key for key in USED_WITH if _look_up(recipe, key) != _look_up(usual, key)]
    reasons = {key: _explain_unused(recipe, key) for key in changed}
    return {key: reason for key, reason in reasons.items() if reason}


def _explain_unused(recipe: Recipe, key: str) -> str:
    """Return why a setting is not used, be it that the one it depends on is not; "" if it is."""
    for other, values in USED_WITH.get(key, {}).items():
        found = _look_up(recipe, other)
        if found not in values if values else found in (0, "none"):
            named = f", not {' or '.join(map(repr, values))}" if 0 < len(values) <= MANY else ""
            return f"{other} is {found!r}{named}"
        if reason := _explain_unused(recipe, other):
            return reason
    return ""


def _look_up(recipe: Settings, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value
