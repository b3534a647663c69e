"""The random changes of a training image, drawn from one generator. Reads no files, knows no torch.

Geometry is one resampling (warp.py), colours are one matrix (colours.py).
"""

import io
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import colours, warp
from .train_settings import AugmentSettings

Pixels = NDArray[np.uint8]  # [H, W, 3] RGB

HIGHEST_QUALITY = 95  # of JPEG
TRIES = 10  # at a shape that fits into the image
BLUR_SIGMA = (0.3, 1.5)  # pixels
ERASED_AREA = (0.02, 0.2)  # share of the image
ERASED_ASPECT = 3.3  # widest and highest
ERASED_VALUE = 127


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Augmentation:
    """The changes that settings name, of images that become squares.

    Each draws as many numbers whether it is on or off, so one that is switched off leaves the
    others as they are.
    """

    def __init__(self, settings: AugmentSettings, size: int) -> None:
        """Take the settings, and the side of the squares in pixels."""
        self.settings, self.size = settings, size

    def __call__(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """Return [size, size, 3] of an image [H, W, 3]."""
        box = self._draw_box(pixels.shape[0], pixels.shape[1], generator)
        mirrored = generator.random() < self.settings.mirror
        inner = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
        changed = warp.warp(inner, self._draw_changes(generator), self.size)
        if mirrored:
            changed = np.asarray(cv2.flip(changed, 1), np.uint8)
        changed = colours.recolour(changed, self._draw_colours(changed, generator))
        changed = self._blur(changed, generator)
        changed = self._compress(changed, generator)
        return self._erase(changed, generator)

    def _draw_box(self, height: int, width: int, generator: np.random.Generator) -> Box:
        tries, place = generator.random((TRIES, 2)), generator.random(2)
        settings = self.settings
        if settings.crop == "none":
            return Box(0, 0, width, height)
        if settings.crop == "centre":
            side = max(round(min(height, width) * math.sqrt(settings.crop_min_area)), 1)
            return Box((width - side) // 2, (height - side) // 2, side, side)
        areas = height * width * (1 - tries[:, 0] * (1 - settings.crop_min_area))
        aspects = settings.crop_max_aspect ** (2 * tries[:, 1] - 1)
        widths, heights = np.rint(np.sqrt([areas * aspects, areas / aspects])).astype(int)
        fits = (widths > 0) & (heights > 0) & (widths <= width) & (heights <= height)
        if not fits.any():  # the middle, as far as it is not too long
            widest = settings.crop_max_aspect
            inner = min(width, round(height * widest)), min(height, round(width * widest))
            return Box((width - inner[0]) // 2, (height - inner[1]) // 2, *inner)
        inner = int(widths[fits][0]), int(heights[fits][0])
        left, top = (place * (width - inner[0] + 1, height - inner[1] + 1)).astype(int).tolist()
        return Box(left, top, *inner)

    def _draw_changes(self, generator: np.random.Generator) -> warp.Matrix:
        """Draw rotation, then perspective, then shift, scale and shear."""
        angle, chance, inwards = (
            generator.uniform(-1, 1),
            generator.random(),
            generator.random((4, 2)),
        )
        shift_x, shift_y, scale, shear = generator.uniform(-1, 1, 4)
        settings, changes = self.settings, warp.SAME
        if settings.rotation:
            changes = warp.rotate(angle * settings.rotation)
        if settings.perspective and chance < 0.5:
            changes = warp.move_corners(inwards * settings.perspective) @ changes
        if settings.shift or settings.scale or settings.shear:
            shift_x, shift_y = shift_x * settings.shift, shift_y * settings.shift
            scale, shear = 1 + scale * settings.scale, shear * settings.shear
            changes = warp.transform(shift_x, shift_y, scale, shear) @ changes
        return changes

    def _draw_colours(self, pixels: Pixels, generator: np.random.Generator) -> colours.Colours:
        """Draw brightness, contrast, saturation and hue, in any order; then grey."""
        brightness, contrast, saturation, hue = generator.uniform(-1, 1, 4)
        order, chance = generator.permutation(4), generator.random()
        settings, changes = self.settings, colours.SAME
        mean = np.array(cv2.mean(pixels)[:3])
        for step in order:
            if step == 0:
                factor = 1 + brightness * settings.brightness
                changes = colours.scale_brightness(changes, factor)
            elif step == 1:
                factor = 1 + contrast * settings.contrast
                changes = colours.scale_contrast(changes, factor, mean)
            elif step == 2:
                factor = 1 + saturation * settings.saturation
                changes = colours.scale_saturation(changes, factor)
            else:
                changes = colours.turn_hue(changes, hue * settings.hue)
        return colours.scale_saturation(changes, 0) if chance < settings.grey else changes

    def _blur(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        chance, sigma = generator.random(), generator.uniform(*BLUR_SIGMA)
        if chance >= self.settings.blur:
            return pixels
        return np.asarray(cv2.GaussianBlur(pixels, (5, 5), sigma), np.uint8)

    def _compress(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """Return the image as JPEG of a random quality gives it back."""
        chance, share = generator.random(2)
        if chance >= self.settings.jpeg:
            return pixels
        lowest = self.settings.jpeg_quality
        quality = lowest + int(share * (HIGHEST_QUALITY + 1 - lowest))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        return np.array(Image.open(stream))

    def _erase(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """Return the image with a grey rectangle in it; of no shape that fits, none."""
        chance, tries, place = generator.random(), generator.random((TRIES, 2)), generator.random(2)
        if chance >= self.settings.erase:
            return pixels
        areas = self.size**2 * (ERASED_AREA[0] + tries[:, 0] * (ERASED_AREA[1] - ERASED_AREA[0]))
        aspects = ERASED_ASPECT ** (2 * tries[:, 1] - 1)
        sides = np.rint(np.sqrt([areas * aspects, areas / aspects])).astype(int)
        fits = (sides < self.size).all(axis=0)
        if fits.any():
            width, height = sides[:, fits][:, 0]
            left, top = (place * (self.size - width + 1, self.size - height + 1)).astype(int)
            pixels = pixels.copy()  # it may be part of what was given
            pixels[top : top + height, left : left + width] = ERASED_VALUE
        return pixels
