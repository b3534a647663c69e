"""Draw the answer to one photo: where it is, what it was compared with, and what voted for what.

Reads the database photos where they are still there. Writes one PNG. The attention map is that of
the run's own DELF, where it has one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from embed.decode import ImageError, decode_image
from embed.files import writing
from pipelines.answers.answer import Answer, Match
from pipelines.answers.opened_run import OpenedRun
from pipelines.answers.photo import Photo as PhotoSource
from pipelines.answers.supporters import name_landmark
from pipelines.lettering import measure_line, write_line
from pipelines.recognizer import Recognizer
from pipelines.reports.page.pairs import describe, name_place
from pipelines.reports.page.pictures import MatchedPhoto, Pixels, draw_lines, draw_pair, placeholder
from pipelines.tiles import fit_tile

WIDTH, MARGIN, GAP = 1240, 24, 16  # pixels
PHOTO_BOX, PAIR_BOX = (430, 360), (290, 220)  # largest width and height of a photo
TITLE, TEXT, NOTE = 28, 16, 14  # pixels, of the letters
LINE = 1.45  # height of a line, in letters
BAR = 14  # pixels, height of a bar
PAPER, INK, SOFT, FAINT = (255, 255, 255), (35, 40, 48), (95, 101, 110), (226, 229, 233)
REGION = (240, 228, 66)  # as that of the match lines: stands out from photos
FOR, AGAINST = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's blue and vermilion
HEAT = 0.55  # opacity of the attention map
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class VoteBar:
    """A labelled bar."""

    title: str
    share: float  # of the full width, 0 to 1
    note: str
    colour: Colour


def write_query_figure(
    recognizer: Recognizer, photo: PhotoSource, answer: Answer, path: Path
) -> None:
    """Draw the answer to a photo.

    Args:
        recognizer: that gave the answer.
        photo: that was asked about.
        answer: to it, not an error.
        path: the PNG file to write.

    Raises:
        ImageError: the photo cannot be read any more.
    """
    opened = recognizer.opened
    limit = opened.recipe.decode.max_pixels
    image = photo.decode(max(PHOTO_BOX), limit)
    heat = _find_attention(opened, photo)
    panels = [_draw_query(image.pixels, image.original_size, answer)]
    panels += [] if heat is None else [_draw_heat(image.pixels, heat)]
    pairs = [
        (_draw_pair(recognizer, photo, image.pixels, near), _describe(near, answer))
        for near in answer.neighbors
    ]
    sheet = lay_out(answer, panels, list(list_bars(answer)), pairs)
    with writing(path) as temporary:
        sheet.save(temporary, "PNG", optimize=True)


def lay_out(
    answer: Answer,
    panels: Sequence[Image.Image],
    bars: Sequence[VoteBar],
    pairs: Sequence[tuple[Image.Image, tuple[str, str]]],
) -> Image.Image:
    """Lay the parts of a figure out on a sheet as high as they need.

    Args:
        answer: for the title and the words below it.
        panels: one or two pictures no larger than PHOTO_BOX.
        bars: beside or below them.
        pairs: pictures of two photos each, and two lines below each.
    """
    full = WIDTH - 2 * MARGIN
    words = wrap(_tell(answer), NOTE + 1, full)
    top = MARGIN + round(TITLE * LINE) + round(len(words) * (NOTE + 1) * LINE) + GAP
    used = sum(panel.width + GAP for panel in panels)
    beside = full - used >= 300  # pixels that bars need
    panels_high = max(panel.height for panel in panels) + round(NOTE * LINE)
    bars_high = len(bars) * (BAR + round(NOTE * LINE) + 8)
    row = max(panels_high, bars_high) if beside else panels_high + GAP + bars_high
    cell = PAIR_BOX[1] + round(2 * NOTE * LINE) + GAP
    height = top + row + GAP + (len(pairs) + 1) // 2 * cell + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN), [_title(answer)], TITLE, INK)
    _write(draw, (MARGIN, MARGIN + round(TITLE * LINE)), words, NOTE + 1, SOFT)
    left = MARGIN
    for panel, note in zip(panels, (_note(answer), "Attention of DELF"), strict=False):
        _write(draw, (left, top), [note], NOTE, SOFT)
        sheet.paste(panel, (left, top + round(NOTE * LINE)))
        left += panel.width + GAP
    place = (left + GAP, top) if beside else (MARGIN, top + panels_high + GAP)
    _draw_bars(draw, bars, place, WIDTH - MARGIN - place[0])
    for number, (picture, lines) in enumerate(pairs):
        x = MARGIN + number % 2 * (full + GAP) // 2
        y = top + row + GAP + number // 2 * cell
        sheet.paste(picture, (x, y))
        below = y + picture.height + 2
        width = (full - GAP) // 2
        for place_of, (line, colour) in enumerate(zip(lines, (INK, SOFT), strict=True)):
            at = (x, below + round(place_of * NOTE * LINE))
            _write(draw, at, [line], NOTE, colour, width=width)
    return sheet


def wrap(text: str, size: int, width: float) -> list[str]:
    """Return text in lines of words that are no wider than so many pixels, if one word is not."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and measure_line(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def list_bars(answer: Answer) -> Iterator[VoteBar]:
    """Yield what voted for what: the likeliest landmarks, then what was taken for none at all."""
    most = max((each.votes for each in answer.top), default=0.0)
    for each in answer.top:
        share = each.probability if each.probability is not None else each.votes / max(most, 1e-9)
        note = _show_number(each.votes)
        if each.probability is not None:
            note = f"{_show_number(each.probability, digits=3)}, votes {note}"
        yield VoteBar(each.name, min(max(share, 0.0), 1.0), note, FOR)
    if answer.penalty:
        share = min(max(answer.penalty, 0.0), 1.0)
        title = "likeness to no landmark (penalty)"
        yield VoteBar(title, share, f"{answer.penalty:.3f}", AGAINST)


def _show_number(value: float, digits: int | None = None) -> str:
    """Return a number with some digits after the point, or three in all; never 6.97e-05."""
    if 0 < value < 0.001:
        return "below .001"
    return f"{value:.3g}" if digits is None and value < 1000 else f"{value:.{digits or 0}f}"


def _title(answer: Answer) -> str:
    if answer.label is None:
        return f"No known landmark ({answer.confidence:.3f})"
    return f"{answer.name}, confidence {answer.confidence:.3f}"


def _tell(answer: Answer) -> str:
    place = ""
    if answer.latitude is not None and answer.longitude is not None:
        place = f"{answer.latitude:.5f}, {answer.longitude:.5f}. "
    reason = f"{answer.reason}. " if answer.reason else ""
    return f"{answer.image}. {place}{reason}{answer.explanation}"


def _note(answer: Answer) -> str:
    return "What was verified is outlined" if answer.region else "Nothing was verified"


def _describe(near: Match, answer: Answer) -> tuple[str, str]:
    place = "" if near.rank is None else name_place(near.rank)
    votes = f" · votes {_show_number(near.votes)}" if near.votes else ""
    title = name_landmark(near, answer.guess, near.name)
    return f"{title} · {near.image_id}", describe(place, near.similarity, near.inliers) + votes


def _draw_query(pixels: Pixels, size: tuple[int, int], answer: Answer) -> Image.Image:
    """Draw the photo with outlines of what was verified: the region, and of further answers."""
    picture = fit_tile(Image.fromarray(pixels), PHOTO_BOX)
    draw = ImageDraw.Draw(picture)
    scale = np.array(picture.size) / np.array(size)
    outlines = [answer.region] if answer.region else []
    for x0, y0, x1, y1 in (further.box for further in answer.further):
        outlines.append(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
    for corners in outlines:
        # Half a pixel: (0, 0) is the centre of the top-left pixel, not its corner.
        points = [(float(x), float(y)) for x, y in (np.array(corners) + 0.5) * scale - 0.5]
        for colour, width in ((INK, 5), (REGION, 3)):
            draw.line([*points, points[0]], colour, width, joint="curve")
    return picture


def _draw_heat(pixels: Pixels, heat: NDArray[np.float32]) -> Image.Image:
    """Draw a map [h, w], at least 0, over the photo it is of."""
    from matplotlib import colormaps  # half a second, which a run without DELF has no need of

    from .explain_figure import COLOURS

    picture = fit_tile(Image.fromarray(pixels), PHOTO_BOX)
    levels = Image.fromarray(heat / max(float(heat.max()), 1e-30)).resize(picture.size)
    colours = (colormaps[COLOURS](np.asarray(levels))[..., :3] * 255).astype(np.uint8)
    return Image.blend(picture, Image.fromarray(colours), HEAT)


def _find_attention(opened: OpenedRun, photo: PhotoSource) -> NDArray[np.float32] | None:
    """Return the attention of the run's own DELF to a photo, [S, S]; None without one."""
    if opened.recipe.rerank.method != "delf":
        return None
    import torch  # DELF has imported it

    from embed.tensors import to_tensor
    from embed.transforms import resize_image
    from rerank.delf.attention_map import attention_map
    from rerank.delf.extractor import DelfExtractor

    extractor = opened.describer.extractor
    if not isinstance(extractor, DelfExtractor):
        return None
    model, views = extractor.model, opened.describer.members[0].views
    seen = opened.describer.decode(photo).pixels
    view = resize_image(seen, model.spec.image_size, views.square, model.backbone.stride)
    heat = attention_map(model, extractor.local, to_tensor(view)[None])
    return np.asarray(heat[0].to("cpu", torch.float32))


def _draw_pair(
    recognizer: Recognizer, photo: PhotoSource, pixels: Pixels, near: Match
) -> Image.Image:
    """Draw the photo beside a neighbour, with a line for each inlier if there are enough."""
    opened = recognizer.opened
    try:
        file = opened.locate(near.image_id)
        limit = opened.recipe.decode.max_pixels
        other = decode_image(file, min_side=max(PAIR_BOX), max_pixels=limit).pixels
    except (FileNotFoundError, ImageError):  # a run answers without its dataset, too
        return draw_pair(pixels, placeholder(), PAIR_BOX)
    found = recognizer.compare(photo, near.image_id) if near.verified else None
    if found is None or not found.verified:
        return draw_pair(pixels, other, PAIR_BOX)
    query = MatchedPhoto(pixels, found.points, found.size)
    return draw_lines(
        query, MatchedPhoto(other, found.stored_points, found.stored_size), box=PAIR_BOX
    )


def _draw_bars(
    draw: ImageDraw.ImageDraw, bars: Sequence[VoteBar], place: tuple[int, int], width: int
) -> None:
    left, top = place
    for bar in bars:
        _write(draw, (left, top), [bar.title], NOTE, INK, width=width * 0.68)
        noted = left + width - measure_line(bar.note, NOTE)
        _write(draw, (noted, top), [bar.note], NOTE, SOFT)
        top += round(NOTE * LINE)
        draw.rectangle((left, top, left + width, top + BAR - 1), FAINT)
        filled = round(bar.share * width)
        if filled:
            draw.rectangle((left, top, left + filled, top + BAR - 1), bar.colour)
        top += BAR + 8


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    lines: Sequence[str],
    size: int,
    colour: Colour,
    *,
    width: float | None = None,
) -> None:
    """Write lines whose first one begins below `place`."""
    x, y = place
    for number, line in enumerate(lines):
        middle = y + (number + 0.5) * size * LINE
        write_line(draw, (x, middle), line, size, colour, width=width or WIDTH - MARGIN - x)
