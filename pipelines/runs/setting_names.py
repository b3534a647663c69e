"""Say which setting somebody meant by a key that recipes do not have. Imports nothing heavy."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from embed.settings import Settings

# What people call settings elsewhere, and what they are called here.
ALIASES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "base_lr", "max_lr", "rate"), ("train.learning_rate",)),
    "head_lr": ("train.head_learning_rate",),
    **dict.fromkeys(("bs", "batch", "batchsize"), ("train.classes_per_batch", "train.batch_size")),
    **dict.fromkeys(
        ("model", "arch", "architecture", "network", "net", "encoder"), ("train.backbone",)
    ),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs"), ("train.epochs",)),
    **dict.fromkeys(
        ("size", "img_size", "imgsz", "input_size", "resolution", "res"), ("train.image_size",)
    ),
    **dict.fromkeys(("embedding_dim", "embedding_size", "dims", "dimension"), ("train.dim",)),
    **dict.fromkeys(("loss", "criterion"), ("train.metric_loss", "train.head_loss")),
    **dict.fromkeys(("opt", "optim"), ("train.optimizer",)),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler"), ("train.schedule",)),
    "wd": ("train.weight_decay",),
    **dict.fromkeys(("aug", "augmentation", "augmentations"), ("train.augment",)),
    **dict.fromkeys(("amp", "fp16", "bf16", "half"), ("train.precision",)),
    **dict.fromkeys(("random_seed", "random_state"), ("train.seed",)),
    **dict.fromkeys(("val_share", "val_split", "val_size"), ("train.validation_share",)),
    **dict.fromkeys(
        ("k", "knn", "top_k", "topk", "neighbours", "n_neighbors"), ("search.neighbors",)
    ),
    **dict.fromkeys(
        ("threshold", "thresh", "cutoff", "min_confidence"),
        ("decide.min_precision", "decide.least_probability", "rerank.threshold_px"),
    ),
    **dict.fromkeys(("trials", "iterations", "max_iters"), ("rerank.max_iterations",)),
    "precision": ("decide.min_precision", "train.precision"),
}
MOST = 3  # keys that an answer names
NEARLY = 0.8  # least likeness of the name of another section's key
SAME = 0.9  # least likeness of a key of the section that wins over another section's of that name


def suggest_setting(place: Sequence[str], known: Sequence[str], root: type[Settings]) -> str:
    """Return a question for what was meant, or the list of all keys of the section.

    Args:
        place: of the unknown key, its sections first.
        known: keys of its section.
        root: of all settings.
    """
    name = place[-1].lower().replace("-", "_")
    aliases = ALIASES.get(name, ())
    if here := [key for key in map(_bare, aliases) if key in known] or [
        k for k in known if k == name
    ]:
        return _did_you_mean(here)
    if aliases:
        return _did_you_mean(aliases)
    if close := difflib.get_close_matches(name, known, n=1, cutoff=SAME):
        return _did_you_mean(close)
    elsewhere: dict[str, list[str]] = {}
    for key in sorted(list_settings(root), key=lambda key: key.count(".")):
        elsewhere.setdefault(_bare(key), []).append(key)
    if name in elsewhere:  # the name is right, and its section is not
        return _did_you_mean(elsewhere[name][:MOST])
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.6):
        return _did_you_mean(close)
    for other in difflib.get_close_matches(name, list(elsewhere), n=1, cutoff=NEARLY):
        return _did_you_mean(elsewhere[other][:MOST])
    return f"known: {', '.join(known)}"


def _bare(key: str) -> str:
    return key.rpartition(".")[2]


def _did_you_mean(keys: Sequence[str]) -> str:
    return f"did you mean {' or '.join(map(repr, keys))}?"


def list_settings(kind: type[Settings], above: str = "") -> Iterator[str]:
    """Yield the keys of all settings and sections; what is in lists and tables by name is not.

    Of a section that is of one of several kinds, the keys of all of them.
    """
    for name, field in kind.model_fields.items():
        yield f"{above}{name}"
        sections = find_sections(field.annotation)
        inner = (key for each in sections for key in list_settings(each, f"{above}{name}."))
        yield from dict.fromkeys(inner)


def find_sections(annotation: Any) -> list[type[Settings]]:
    """Return the classes of settings that a field may hold: none, one, or one of each kind."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    if get_origin(annotation) in (dict, tuple):
        return []
    return [section for each in get_args(annotation) for section in find_sections(each)]
