"""Tell which settings of a recipe change nothing, because another one switches them off.

Knows names of settings and what they depend on, not what they do. Reads and writes no files.
"""

from collections.abc import Iterable
from typing import Any

from classify_head.policies import POLICIES
from embed.settings import Settings
from embed.train_settings import AugmentSettings
from rerank.delf.settings import DelfSettings

from .recipe import Recipe, member_recipe

OTHER_POLICIES = tuple(name for name in POLICIES if name != "calibrated")
MANY = 5  # values that a reason names at most

# Where nothing is trained these are not used, nor is what depends on them.
OF_TRAINING = (
    *("classes_per_batch", "images_per_class", "batch_size", "epoch_share", "epoch_steps"),
    *("freeze.last_convolutions", "freeze.first_tensors", "freeze.stride", "freeze.head"),
    *("freeze_batch_norm", "validation_images", "unseen_share", "pretrained_share"),
    *("optimizer", "learning_rate", "head_learning_rate", "weight_decay", "schedule", "warmup"),
    *("clip_norm", "triplet_weight", "memory", "head_weight", "precision", "judge", "patience"),
    *("sampler", "balance.cap", "balance.upsample_to", "cache_gigabytes"),
    *(f"augment.{name}" for name in AugmentSettings.model_fields if name != "preset"),
)
# Without local features none of these is used, nor is what depends on them.
OF_LOCAL_FEATURES = (
    *("of", "candidates", "matching"),
    *("max_distance", "model", "threshold_px", "max_iterations"),
)
# The calibrated fusion sees all evidence itself, and none of what these make of it.
BEFORE_FUSION = ("penalty", "rescoring", "vote")
# Values that say what is so anyway: no ratio test.
NEUTRAL = {"rerank.max_ratio": 1.0}

# A setting, and each one that it depends on with the values with which it is used; without values,
# all but 0, false and "none".
USED_WITH: dict[str, dict[str, tuple[Any, ...]]] = {
    **{f"train.{name}": {"train.epochs": ()} for name in OF_TRAINING},
    **{f"rerank.{name}": {"rerank.method": ()} for name in OF_LOCAL_FEATURES},
    **{f"rerank.delf.{name}": {"rerank.method": ("delf",)} for name in DelfSettings.model_fields},
    "data.sizes": {"data.split": ("by-size",)},
    "data.keep": {"data.split": ("by-size", "per-class", "shares")},
    "data.unknown": {"data.changes_nothing": (False,)},
    "data.seed": {"data.changes_nothing": (False,)},
    "ensemble.rule": {"ensemble.members": ()},
    "train.head_scale": {
        "train.head.kind": ("cosine", "hadamard", "arcface", "cosface", "subcenter")
    },
    "train.head_loss": {"train.head_weight": ()},
    "train.focal_gamma": {"train.head_loss": ("focal",)},
    "train.metric_loss": {"train.triplet_weight": ()},
    "train.margin": {"train.metric_loss": ("triplet", "contrastive")},
    "train.miner": {"train.metric_loss": ("triplet",)},
    # With groups of a class a batch has classes_per_batch times images_per_class images.
    "train.batch_size": {
        "train.sampler": ("uniform", "square-root", "class-balanced"),
        "train.triplet_weight": (0,),
        "train.epochs": (),
    },
    "train.momentum": {"train.optimizer": ("sgd",)},
    "train.balance.set_number": {"train.balance.cap": ()},
    "train.decay": {"train.schedule": ("step", "plateau")},
    "train.step_epochs": {"train.schedule": ("step",)},
    "train.plateau_epochs": {"train.schedule": ("plateau",)},
    "embed.crop_share": {"embed.crops": ()},
    "embed.regions.overlap": {"embed.regions.grids": ()},
    "search.whiten_dim": {"search.whiten": ("pca",)},
    "search.whiten_power": {"search.whiten": ("pca",)},
    "search.alpha": {"search.expand_query": ()},
    "rerank.refine_nearest": {"rerank.refine": ()},
    "rerank.refine_beta": {"rerank.refine": ()},
    "rerank.nearest": {"rerank.matching": ("aggregated",)},
    "rerank.max_ratio": {"rerank.matching": ("pairs",)},
    "rerank.max_side": {"rerank.method": ("sift", "delf-hub")},  # DELF has settings of its own
    "rerank.max_features": {"rerank.method": ("sift", "delf-hub")},
    "rerank.hub_model": {"rerank.method": ("delf-hub",)},
    "decide.features": {"decide.policy": ("calibrated",)},
    "decide.distractor_share": {"decide.policy": ("calibrated",)},
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


def find_unused(recipe: Recipe, said: Iterable[str]) -> dict[str, str]:
    """Return which settings that somebody said change nothing, each with the reason.

    Those that say no more than the default are left out; of an ensemble, those that any of its
    models uses.

    Args:
        recipe: as a whole.
        said: keys.

    >>> recipe = Recipe.model_validate({"train": {"momentum": 0.5}})
    >>> find_unused(recipe, ["train.epochs", "train.momentum"])
    {'train.momentum': "train.optimizer is 'adamw', not 'sgd'"}
    """
    models = [member_recipe(recipe, name) for name in recipe.ensemble.members] or [recipe]
    first, *others = (_find_unused(model) for model in models)
    reasons = {
        key: reason for key, reason in first.items() if all(key in other for other in others)
    }
    if "ensemble.rule" in reasons and recipe.ensemble.members:
        del reasons["ensemble.rule"]  # a member is no ensemble itself
    return {
        key: reason
        for key in said
        for unused, reason in reasons.items()
        if key == unused or key.startswith(f"{unused}.")
    }


def _find_unused(recipe: Recipe) -> dict[str, str]:
    usual = Recipe()
    changed = [
        key
        for key in USED_WITH
        if _look_up(recipe, key) not in (_look_up(usual, key), NEUTRAL.get(key))
    ]
    reasons = {key: _explain_unused(recipe, key) for key in changed}
    if recipe.decide.make_policy().fusion.name == "calibrated":
        reason = "the calibrated policy decides by decide.features"
        reasons |= {
            f"decide.steps.{name}": reason for name in BEFORE_FUSION if name in recipe.decide.steps
        }
    views = recipe.embed
    if views.merge_p > 1 and len(views.scales) == 1 and not views.flip and views.crops < 2:
        reasons["embed.merge_p"] = "an image has one view: see embed.scales, flip and crops"
    most = recipe.search.neighbors
    for key in ("rerank.candidates", "search.expand_query"):
        if _look_up(recipe, key) > most and recipe.rerank.of == "neighbors":
            reasons[key] = f"beyond {most}: search.neighbors are no more"
    return {key: reason for key, reason in reasons.items() if reason}


def _explain_unused(recipe: Recipe, key: str) -> str:
    """Return why a setting is not used, be it that the one it depends on is not; "" if it is."""
    for other, values in USED_WITH.get(key, {}).items():
        found = _look_up(recipe, other)
        if found not in values if values else not found or found == "none":
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
