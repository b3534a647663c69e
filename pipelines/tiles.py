"""Bring photos to the size of a tile: filled to its edges, or whole. Pixels in, pixels out."""

from PIL import Image, ImageOps

Size = tuple[int, int]  # width, height in pixels

LANCZOS = Image.Resampling.LANCZOS


def fill_tile(image: Image.Image, size: Size, *, height: float = 0.5) -> Image.Image:
    """Return the largest part of a photo that has the shape of a tile, at its size.

    Args:
        image: of any size.
        size: of the tile.
        height: where the part lies in a photo that is taller than the tile, 0 (top) to 1.
    """
    return ImageOps.fit(image, size, LANCZOS, centering=(0.5, height))


def fit_tile(image: Image.Image, box: Size) -> Image.Image:
    """Return a whole photo, scaled to touch a box from the inside; no side is below a pixel."""
    # ImageOps.contain rounds the short side of a 5000 x 16 photo to none.
    scale = min(box[0] / image.width, box[1] / image.height)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, LANCZOS)
