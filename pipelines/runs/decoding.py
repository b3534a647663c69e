"""Say how large the photos of a run are decoded: alike for every use, so that once is enough.

A JPEG may be scaled down while it is decoded, and its pixels then differ from those of one that is
resized after. What a photo is described as would depend on who asks, if each use had its own size.
Knows the recipe alone; imports no torch.
"""

import math
from pathlib import Path
from typing import Any

from embed import regions
from rerank.delf.settings import pyramid_sides

from .members import list_members
from .recipe import Recipe

CELL = 64  # pixels; the largest cell of a network, which the sides of views are rounded to


def decode_side(recipe: Recipe) -> int:
    """Return the pixels that the shorter side of a decoded photo keeps at least, if it has them.

    They are enough for the views of all models, and for the local features.
    """
    members = list(list_members(Path(), recipe).values())
    # Local features are made with the first model.
    return max(_local_side(members[0]), *(_view_side(member) for member in members))


def decoding(recipe: Recipe) -> dict[str, Any]:
    """Return all that decides the pixels of a photo, for the settings of an artifact."""
    return {**recipe.decode.model_dump(), "min_side": decode_side(recipe)}


def _view_side(recipe: Recipe) -> int:
    """Return at least what embed.views.Views.input_side and regions need for the recipe's model."""
    size, embed = recipe.train.image_size, recipe.embed
    scale = max(embed.scales)
    rounded = (scale != 1) + (embed.square == "fit")  # times that a side goes up to a whole cell
    side = math.ceil(scale * size) + rounded * CELL // 2
    if embed.crops:
        side = round(size / embed.crop_share)
    return regions.decode_side(embed.regions, side)


def _local_side(recipe: Recipe) -> int:
    """Return the min_side of the recipe's extractor of local features; 0 without one."""
    settings = recipe.rerank
    if settings.method == "none":
        return 0
    if settings.method == "delf":
        delf = settings.delf
        return pyramid_sides(recipe.train.image_size, delf.scales, delf.stride)[-1]
    return settings.max_side
