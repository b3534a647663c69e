"""Draw answers.jpg: a sample of a run's answers, each beside the photos that speak for it.

Reads predictions.parquet, neighbors.parquet, verified.parquet and the images of the sample.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from classify_head.answers import NO_LANDMARK
from embed.decode import ImageError, decode_image
from embed.files import writing
from embed.image_file import ImageFile
from pipelines.answers.live import Live, find_file, load_live
from pipelines.answers.supporters import name_landmark, order_supporters
from pipelines.lettering import write_line
from pipelines.reports.page.answers import RunAnswers, read_answers, spread
from pipelines.reports.page.neighbors import Neighbor, read_neighbors
from pipelines.reports.page.pairs import describe
from pipelines.runs.artifact import SHEET
from pipelines.runs.job import Job
from pipelines.tiles import fill_tile

SAMPLE, SHOWN = 8, 4  # queries, and database images beside each
TILE = (208, 156)  # pixels, width and height of an image
GAP, CAPTION, MARGIN = 8, 40, 20  # pixels
PAPER, INK, SOFT = (250, 250, 249), (46, 52, 60), (120, 126, 134)
ANSWERED, REJECTED = (34, 140, 84), (170, 110, 30)  # of an answer, and of "no known landmark"


@dataclass(frozen=True)
class CaptionedImage:
    """An image of the sheet, and what is written below it."""

    file: ImageFile | None  # None where it is gone
    title: str
    note: str
    answered: bool | None = None  # colours the title of a query; None for a database image


def draw_answers(job: Job) -> None:
    """Draw the sheet of a finished submission; none if no query could be read."""
    run = read_answers(job.run, None)
    unread = {query_id for query_id, _ in run.unread}
    read = [row for row, query_id in enumerate(run.answers.query_ids) if query_id not in unread]
    confidences = run.answers.confidences[read]
    rows = [read[place] for place in spread(confidences.tolist(), SAMPLE)]
    neighbors = read_neighbors(job, [run.answers.query_ids[row] for row in rows])
    live = load_live(job.run, job.dataset.names)
    sample = [list(_show(job, live, run, row, neighbors)) for row in rows]
    if sample:
        with writing(job.run / SHEET) as temporary:
            draw_sheet(sample, temporary)


def _show(
    job: Job, live: Live, run: RunAnswers, row: int, neighbors: dict[str, list[Neighbor]]
) -> Iterator[CaptionedImage]:
    """Yield a query and what speaks for its answer, then what speaks for another."""
    query_id, given, guess = run.answers.query_ids[row], bool(run.given[row]), int(run.guesses[row])
    label = None if guess == NO_LANDMARK else guess
    name = "no known landmark"
    if given and label is not None:
        name = _name(live, label)
    note = f"confidence {run.answers.confidences[row]:.3f}"
    if not given and label is not None:
        note += f" of {_name(live, label)}"
    yield CaptionedImage(job.dataset.find_photo(query_id), name, note, answered=given)
    for near in order_supporters(neighbors[query_id], label, SHOWN):
        title = name_landmark(near, label, _name(live, near.label))
        note = describe("", near.similarity, near.inliers)
        file = find_file(live.added, near.image_id) or job.dataset.find_photo(near.image_id)
        yield CaptionedImage(file, title, note)


def _name(live: Live, landmark_id: int) -> str:
    return live.names.get(landmark_id, str(landmark_id))


def draw_sheet(rows: Sequence[Sequence[CaptionedImage]], path: Path) -> None:
    """Draw rows of images, the first of each row set apart as the query.

    Args:
        rows: at least one, each with at least one image.
        path: the .jpg file to write.
    """
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * (TILE[0] + GAP) + 2 * GAP
    height = 2 * MARGIN + len(rows) * (TILE[1] + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, row in enumerate(rows):
        top = MARGIN + line * (TILE[1] + CAPTION + GAP)
        for column, image in enumerate(row):
            left = MARGIN + column * (TILE[0] + GAP) + (2 * GAP if column else 0)
            sheet.paste(_thumbnail(image.file), (left, top))
            colour = {None: INK, True: ANSWERED, False: REJECTED}[image.answered]
            size = 15 if image.answered is not None else 13
            below = top + TILE[1]
            write_line(draw, (left, below + 12), image.title, size, colour, width=TILE[0])
            write_line(draw, (left, below + 29), image.note, 12, SOFT, width=TILE[0])
    sheet.save(path, quality=88)


def _thumbnail(path: ImageFile | None) -> Image.Image:
    """Return the middle of an image at the size of a tile; grey if it cannot be read."""
    if path is not None:
        with contextlib.suppress(ImageError):
            return fill_tile(Image.fromarray(decode_image(path, min_side=TILE[0]).pixels), TILE)
    return Image.new("RGB", TILE, (200, 200, 200))
