"""Make the small pictures of a page: thumbnails, and two photos joined by their match lines.

Pixels in, pictures out. Knows no run and no label; reads and writes no files.
"""

import base64
import io
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pipelines.lettering import measure_line, write_line
from pipelines.tiles import fit_tile
from rerank.features import LocalFeatures
from rerank.geometry import Verification

Pixels = npt.NDArray[np.uint8]  # [H, W, 3] RGB
Box = tuple[int, int, int, int]  # left, top, width, height: pixels of the picture

PAIR_BOX = (390, 260)  # pixels, largest width and height of a photo in a pair
THUMBNAIL_BOX = (200, 200)
GUTTER = 6  # pixels between the photos of a pair
QUALITY = 80  # of JPEG
GREY = 150  # around photos: neither a light nor a dark page makes it glare
LINES = 40  # drawn at most: of more, none can be followed
# Okabe and Ito's colours that stand out from photos; told apart by the colour-blind, too.
COLOURS = ((240, 228, 66), (86, 180, 233), (230, 159, 0), (0, 205, 150), (255, 130, 190))


@dataclass(frozen=True, eq=False)
class MatchedPhoto:
    """A photo and what of it was found in another."""

    pixels: Pixels  # [H, W, 3] uint8 RGB, at any resolution
    points: npt.NDArray[np.float32]  # [I, 2], pixels of an image of `size`
    size: tuple[int, int]  # width and height


def draw_matches(
    pixels0: Pixels,
    pixels1: Pixels,
    features0: LocalFeatures,
    features1: LocalFeatures,
    verification: Verification,
    *,
    box: tuple[int, int] = PAIR_BOX,
) -> Image.Image:
    """Draw the query and a database photo side by side, with a line for each inlier.

    Of more than 40 inliers as many are drawn, spread evenly from the top of the query to its
    bottom.

    Args:
        pixels0: [H, W, 3] uint8 RGB, the query at any resolution.
        pixels1: the same of the database photo.
        features0: of the query; its keypoints are pixels of an image of its image_size.
        features1: of the database photo.
        verification: of both.
        box: largest width and height of each photo, pixels.
    """
    inliers = verification.matches[verification.inliers]
    query = MatchedPhoto(pixels0, features0.keypoints[inliers[:, 0]], features0.image_size)
    other = MatchedPhoto(pixels1, features1.keypoints[inliers[:, 1]], features1.image_size)
    return draw_lines(query, other, box=box)


def draw_lines(
    query: MatchedPhoto, other: MatchedPhoto, *, box: tuple[int, int] = PAIR_BOX
) -> Image.Image:
    """Draw two photos side by side, with lines between their points, as draw_matches does."""
    sheet, box0, box1 = _join(query.pixels, other.pixels, box)
    ends0 = _to_sheet(query.points, query.size, box0)
    ends1 = _to_sheet(other.points, other.size, box1)
    order = np.lexsort((ends0[:, 0], ends0[:, 1]))
    drawn = np.linspace(0, len(order) - 1, min(LINES, len(order))).round().astype(int)
    _draw_lines(sheet, ends0[order[drawn]], ends1[order[drawn]])
    return Image.fromarray(sheet)


def draw_pair(pixels0: Pixels, pixels1: Pixels, box: tuple[int, int] = PAIR_BOX) -> Image.Image:
    """Draw two photos side by side, as draw_matches does without inliers."""
    return Image.fromarray(_join(pixels0, pixels1, box)[0])


def placeholder() -> Pixels:
    """Return what is shown in place of a photo that cannot be: [H, W, 3] uint8."""
    image = Image.new("RGB", (320, 240), (GREY, GREY, GREY))
    left = 160 - measure_line("no image", 24) / 2
    write_line(ImageDraw.Draw(image), (left, 120), "no image", 24, (70, 70, 70))
    return np.asarray(image)


def to_data_uri(image: Image.Image) -> str:
    """Return a picture as a JPEG inside a data URI."""
    file = io.BytesIO()
    # Colour at full resolution: halved, thin lines lose theirs.
    image.save(file, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return encode_data_uri(file.getvalue(), "image/jpeg")


def encode_data_uri(content: bytes, media_type: str) -> str:
    """Return the content of a file as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _join(pixels0: Pixels, pixels1: Pixels, box: tuple[int, int]) -> tuple[Pixels, Box, Box]:
    """Return both photos on one sheet, at equal heights where their widths allow it."""
    photos = [np.asarray(fit_tile(Image.fromarray(pixels), box)) for pixels in (pixels0, pixels1)]
    height = max(len(photo) for photo in photos)
    width = photos[0].shape[1] + GUTTER + photos[1].shape[1]
    sheet = np.full((height, width, 3), GREY, dtype=np.uint8)
    boxes, left = [], 0
    for photo in photos:
        top = (height - len(photo)) // 2
        boxes.append((left, top, photo.shape[1], len(photo)))
        sheet[top : top + len(photo), left : left + photo.shape[1]] = photo
        left += photo.shape[1] + GUTTER
    return sheet, boxes[0], boxes[1]


def _to_sheet(
    keypoints: npt.NDArray[np.float32], image_size: tuple[int, int], box: Box
) -> npt.NDArray[np.float64]:
    """Return where [M, 2] keypoints of an image lie on the sheet that shows it in a box."""
    scale = np.array(box[2:]) / np.array(image_size)
    # Half a pixel: (0, 0) is the centre of the top-left pixel, not its corner.
    return np.asarray((keypoints.astype(np.float64) + 0.5) * scale - 0.5 + np.array(box[:2]))


def _draw_lines(
    sheet: Pixels, ends0: npt.NDArray[np.float64], ends1: npt.NDArray[np.float64]
) -> None:
    """Draw a line with dots at its ends for each row of both [M, 2], in place."""
    sixteenths = 4  # OpenCV takes whole numbers with so many bits behind the point
    lines = np.rint(np.stack([ends0, ends1], axis=1) * 2**sixteenths).astype(int).tolist()
    for number, (start, end) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        cv2.line(sheet, start, end, colour, 1, cv2.LINE_AA, sixteenths)
        for point in (start, end):
            radius = 2 << sixteenths
            cv2.circle(sheet, point, radius, colour, cv2.FILLED, cv2.LINE_AA, sixteenths)
