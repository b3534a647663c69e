"""Show photos on a page: alone, and a query beside a database photo with their match lines.

Reads the photos. A photo that cannot be read is shown as a placeholder: a page about what went
wrong must not fail because of what went wrong.
"""

from dataclasses import dataclass

from PIL import Image

from embed.decode import ImageError, decode_image
from embed.image_file import ImageFile
from pipelines.answers.supporters import format_inliers
from pipelines.tiles import fit_tile
from rerank.features import LocalFeatures
from rerank.geometry import Verification, is_verified
from rerank.settings import RerankSettings
from rerank.verify import verify_candidates

from .pictures import (
    PAIR_BOX,
    THUMBNAIL_BOX,
    Pixels,
    draw_matches,
    draw_pair,
    placeholder,
    to_data_uri,
)
from .records import Picture


@dataclass(frozen=True, eq=False)
class PagePhoto:
    """A photo of a page and its local features, as far as there are any."""

    pixels: Pixels | None = None  # None where it could not be read
    features: LocalFeatures | None = None


NO_PHOTO = PagePhoto()


def read_photo(
    path: ImageFile | None,
    max_pixels: int,
    features: LocalFeatures | None = None,
    box: tuple[int, int] = PAIR_BOX,
) -> PagePhoto:
    """Read a photo at about the resolution it is shown at.

    Args:
        path: of the image file; None where it is gone.
        max_pixels: limit of the decoder.
        features: of the photo.
        box: largest width and height it is shown at, pixels.
    """
    if path is None:
        return PagePhoto(None, features)
    try:
        image = decode_image(path, min_side=max(box), max_pixels=max_pixels)
    except ImageError:
        return PagePhoto(None, features)
    return PagePhoto(image.pixels, features)


def compare(query: PagePhoto, other: PagePhoto, settings: RerankSettings) -> Verification | None:
    """Match a pair of photos; None where one has no local features."""
    if query.features is None or other.features is None:
        return None
    return verify_candidates(query.features, [other.features], settings)[0]


def draw_compared(
    query: PagePhoto, other: PagePhoto, found: Verification | None, box: tuple[int, int] = PAIR_BOX
) -> Image.Image:
    """Return both photos side by side, with a line for each inlier.

    There are no lines where one photo cannot be shown, or has no local features, or where there are
    as few as chance gives.

    Args:
        query: photo 0 of what was found.
        other: photo 1.
        found: in their local features.
        box: largest width and height of each photo, pixels.
    """
    pixels0, pixels1 = _shown(query), _shown(other)
    whole = query.pixels is not None and other.pixels is not None
    if not whole or found is None or query.features is None or other.features is None:
        return draw_pair(pixels0, pixels1, box)
    if not is_verified(found.n_inliers):
        return draw_pair(pixels0, pixels1, box)
    return draw_matches(pixels0, pixels1, query.features, other.features, found, box=box)


def count_lines(found: Verification | None) -> str:
    """Say how many lines are drawn between two photos, for those who cannot see them."""
    if found is None or not is_verified(found.n_inliers):
        return ""
    return f", {found.n_inliers} matches drawn as lines"


def _shown(photo: PagePhoto) -> Pixels:
    return placeholder() if photo.pixels is None else photo.pixels


def show_photo(
    photo: PagePhoto,
    alt: str,
    title: str = "",
    note: str = "",
    box: tuple[int, int] = THUMBNAIL_BOX,
) -> Picture:
    """Return the thumbnail of a photo, in a box of this width and height in pixels."""
    thumbnail = fit_tile(Image.fromarray(_shown(photo)), box)
    return to_picture(thumbnail, alt, title, note)


def to_picture(image: Image.Image, alt: str, title: str = "", note: str = "") -> Picture:
    """Return an image as it stands on the page."""
    return Picture(to_data_uri(image), alt, image.width, image.height, title, note)


def describe(place: str, similarity: float, inliers: int | None) -> str:
    """Say in one line how near a database photo is.

    Args:
        place: among the neighbours; may be empty.
        similarity: cosine.
        inliers: None where it was not compared.

    >>> describe(name_place(1), 0.8123, 1)
    '2nd nearest · similarity 0.81 · not verified'
    """
    parts = [place, f"similarity {similarity:.2f}", format_inliers(inliers)]
    return " · ".join(filter(None, parts))


def name_place(rank: int) -> str:
    """Name a place among the neighbours, from 0.

    >>> [name_place(rank) for rank in (0, 1, 2, 3, 10, 20)]
    ['nearest', '2nd nearest', '3rd nearest', '4th nearest', '11th nearest', '21st nearest']
    """
    place = rank + 1
    teens = 10 < place % 100 < 14
    ending = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending} nearest" if rank else "nearest"
