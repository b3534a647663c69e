"""What lens, sensor and JPEG do to a lit picture: distortion, blur, colour, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np

from .camera import Bytes, Reals
from .difficulty import Difficulty
from .materials import Rng


def develop(light: Reals, size: tuple[int, int], rng: Rng, knobs: Difficulty, dark: bool) -> bytes:
    """Turn light into the bytes of a JPEG file.

    Args:
        light: [H, W, 3] float32, 0 to 255, supersampled.
        size: (width, height) of the photo.
        rng: is used up.
        knobs: strengths.
        dark: whether the photo is taken at dusk or night (more noise).
    """
    image = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
    if rng.random() < 0.6:
        image = distort(image, rng.uniform(-0.07, 0.04))
    if rng.random() < knobs.blur_share:
        image = _blur(image, rng)
    image = _tone(image, rng, knobs)
    sigma = rng.uniform(0.5, knobs.noise) * (2.0 if dark else 1.0)
    coarse = rng.standard_normal(image.shape, np.float32) * sigma
    if dark:
        coarse = np.asarray(cv2.GaussianBlur(coarse, (3, 3), 0.6)) * 1.4
    pixels = np.clip(image + coarse, 0, 255).astype(np.uint8)
    quality = int(rng.integers(knobs.quality[0], knobs.quality[1] + 1))
    return encode(pixels, quality)


def encode(pixels: Bytes, quality: int) -> bytes:
    """Compress [H, W, 3] uint8 as JPEG.

    Raises:
        ValueError: OpenCV cannot compress the image.
    """
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"image of shape {pixels.shape} cannot be compressed as JPEG")
    return bytes(data)


def distort(image: Reals, strength: float) -> Reals:
    """Bend straight lines outwards (negative strength: barrel) or inwards (positive).

    Args:
        image: [H, W, 3] float32.
        strength: relative displacement at the corners.
    """
    h, w = image.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    grow = 1 + strength * ((x * x + y * y) / 2 - (1 if strength < 0 else 0))
    grow = grow / max(1.0, float(grow.max()) if strength > 0 else 1.0)
    if strength < 0:
        grow = grow / float(grow.max())
    map_x = ((x * grow + 1) * (w - 1) / 2).astype(np.float32)
    map_y = ((y * grow + 1) * (h - 1) / 2).astype(np.float32)
    return np.asarray(
        cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _blur(image: Reals, rng: Rng) -> Reals:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.5)))
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    a = rng.uniform(0, np.pi)
    reach = np.array([np.cos(a), np.sin(a)]) * (length - 1) / 2
    middle = (length - 1) / 2
    ends = [
        (round(float(middle + s * reach[0])), round(float(middle + s * reach[1]))) for s in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _tone(image: Reals, rng: Rng, knobs: Difficulty) -> Reals:
    """Apply exposure, white balance, saturation, contrast and vignetting."""
    h, w = image.shape[:2]
    gains = np.exp(knobs.white_balance * rng.standard_normal(3) * (1.0, 0.2, 1.0))
    gains *= np.exp(rng.normal(0.03, 0.13))
    saturation, gamma = rng.uniform(0.7, 1.25), rng.uniform(0.85, 1.15)
    mix = (saturation * np.eye(3) + (1 - saturation) / 3) * gains
    image = np.asarray(cv2.transform(image, mix))
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    fall = 1 - rng.uniform(0.0, 0.14) * (x * x + y * y)
    image = image * fall[..., None].astype(np.float32)
    # The curve has a soft shoulder: bright skies and lit windows do not burn out.
    steps = (np.arange(1024) / 511.5) ** gamma
    curve = np.where(steps > 0.8, 0.8 + 0.2 * np.tanh((steps - 0.8) / 0.2), steps) * 255
    codes = np.clip(image * np.float32(1023 / 510), 0, 1023).astype(np.uint16)
    return np.asarray(curve.astype(np.float32).take(codes), np.float32)
