"""Sets of random changes by name: what a recipe's `[train.augment] preset` stands for.

A report names its changes, and few of their numbers: those that the comments here call ours are
this project's reading. Imports nothing.
"""

Values = dict[str, float | str]

WHOLE: Values = {"crop": "none", "crop_min_area": 1.0, "crop_max_aspect": 1.0}
UNTURNED: Values = {"mirror": 0.0, "rotation": 0.0, "perspective": 0.0}
UNCOLOURED: Values = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
NONE = WHOLE | UNTURNED | UNCOLOURED | {"grey": 0.0, "blur": 0.0, "erase": 0.0}

# Values of AugmentSettings by name of the preset; what one does not mention is that of "default".
PRESETS: dict[str, Values] = {
    "default": {},
    "none": NONE,
    # Random crop, rotation +-20 degrees. Ours: how much a crop keeps.
    "torino": NONE | {"crop": "random", "crop_min_area": 0.75, "rotation": 20.0},
    # The middle 224 of 250 pixels; the random changes are those of balance.upsample_to.
    "balanced-ensemble": NONE | {"crop": "centre", "crop_min_area": 0.8},
    # Shift and rotation. Ours: all numbers.
    "facenet-hadamard": NONE | {"shift": 0.1, "rotation": 10.0},
    # Mirror .5, random resized crop, colour jitter, rotation, scale, shear, translation. Ours: all
    # other numbers; those of the crop are torchvision's.
    "se-attention": NONE
    | {"crop": "random", "crop_min_area": 0.08, "crop_max_aspect": 4 / 3}
    | {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}
    | {"mirror": 0.5, "rotation": 10.0, "scale": 0.1, "shear": 10.0, "shift": 0.1},
    # Centre crop of 256 pixels, mirror, shift either way. Ours: 224 of the 256, and the shift.
    "xception-bilinear": NONE
    | {"crop": "centre", "crop_min_area": 0.766, "mirror": 0.5, "shift": 0.1},
}
