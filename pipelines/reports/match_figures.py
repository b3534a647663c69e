"""Draw what geometry found between photos: good matches, wrong classes, mismatches.

Queries of a finished run are drawn beside the database photo that speaks most for their guess, with
a line for each inlier, if there are more than chance gives. Reads predictions.parquet,
verified.parquet and what `open_album` reads. Writes JPEG files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from classify_head.answers import NO_LANDMARK
from embed.errors import InputError
from embed.files import writing
from pipelines.answers.live import load_live
from pipelines.decorations import draw
from pipelines.lettering import write_line
from pipelines.reports.page.album import Album, open_album
from pipelines.reports.page.answers import RunAnswers, read_answers
from pipelines.reports.page.pairs import describe
from pipelines.runs.integrity import intact_output
from pipelines.runs.job import Job
from pipelines.scores.evaluate import find_submission
from rerank.geometry import CHANCE_INLIERS, is_verified

Kind = Literal["good", "wrong-class", "mismatch"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SHOWN = 3  # of each kind
PHOTO_BOX = (520, 400)  # pixels, largest width and height of a photo
MARGIN, CAPTION = 14, 60  # pixels
TITLE_SIZE, NOTE_SIZE = 20, 15  # pixels, of the letters
PAPER, INK, SOFT = (255, 255, 255), (35, 40, 48), (95, 101, 110)
QUALITY = 90  # of JPEG


@dataclass(frozen=True)
class MatchedPair:
    """A query beside the database photo that speaks most for its guess."""

    row: int  # of the answers
    image_id: str
    landmark_id: int  # that the database photo shows
    inliers: int


def write_match_figures(job: Job, folder: Path) -> list[Path]:
    """Draw up to three queries of each kind, and return the files: good-1.jpg and so on.

    A figure that cannot be drawn is a warning.

    good: the class is right, the answer was given, and there are more inliers than chance gives.
    wrong-class: the photo shows another landmark. mismatch: the photo shows no landmark, or its
    class is right but was refused, or not verified. Without a solution, answers that were given and
    verified are good, others are mismatches. Of each kind those
    with the most inliers are drawn, one a landmark, and photos without a landmark first.

    Args:
        job: a finished run.
        folder: where to put the files; those of an earlier call are replaced.

    Raises:
        FileNotFoundError: the run has no finished submission.
        InputError: the run verified nothing: its recipe has no local features.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for place in range(SHOWN):
            _name_file(folder, kind, place).unlink(missing_ok=True)
    find_submission(job.run)
    known = job.dataset.find_table("solution") is not None
    run = read_answers(job.run, job.dataset.solution if known else None)
    picked = pick_matches(run, find_best_matches(job, run))
    rows = [found.row for matches in picked.values() for found in matches]
    album = open_album(job, [run.answers.query_ids[row] for row in rows])
    paths = []
    for kind, matches in picked.items():
        for place, matched in enumerate(matches):
            path = _name_file(folder, kind, place)
            paths += draw(path, partial(_save_match, run, album, kind, matched, path))
    return paths


def _name_file(folder: Path, kind: Kind, place: int) -> Path:
    return folder / f"{kind}-{place + 1}.jpg"


def _save_match(
    run: RunAnswers, album: Album, kind: Kind, matched: MatchedPair, path: Path
) -> None:
    picture = draw_match(run, album, kind, matched)
    with writing(path) as temporary:
        picture.save(temporary, "JPEG", quality=QUALITY, subsampling=0)


def find_best_matches(job: Job, run: RunAnswers) -> list[MatchedPair]:
    """Return, for each query that was compared with photos, the one with the most inliers.

    Photos of the guessed landmark alone are looked at; all, where nothing was guessed. Of equal
    ones, and of those that have as few as chance gives, the nearest is taken.

    Raises:
        InputError: nothing was verified.
    """
    path = intact_output(job.run, "verified.parquet")
    table = pq.read_table(path, columns=["query_id", "rank", "image_id", "inliers"]).to_pandas()
    if table.empty:
        raise InputError(
            f"{job.run} has no verified photos, so there are no matches to draw; its recipe has "
            f'rerank.method = "{job.recipe.rerank.method}"'
        )
    images = load_live(job.run, job.dataset.names).table
    table["label"] = images.labels(images.rows_of(table["image_id"]))
    row_of = {query_id: row for row, query_id in enumerate(run.answers.query_ids)}
    table = table[table["query_id"].isin(row_of.keys())]
    table["row"] = table["query_id"].map(row_of)
    guesses = run.guesses[table["row"]]
    table = table[(guesses == NO_LANDMARK) | (guesses == table["label"])]
    table["beyond"] = table["inliers"].where(table["inliers"] > CHANCE_INLIERS, 0)
    best = table.sort_values(["row", "beyond", "rank"], ascending=[True, False, True])
    best = best.drop_duplicates("row")
    columns = (best[name].tolist() for name in ("row", "image_id", "label", "inliers"))
    return [MatchedPair(*each) for each in zip(*columns, strict=True)]


def pick_matches(run: RunAnswers, matches: Sequence[MatchedPair]) -> dict[Kind, list[MatchedPair]]:
    """Return the matches to draw of each kind; see write_match_figures."""

    def urgency(found: MatchedPair) -> tuple[bool, int, str]:
        has_landmark = bool(run.answers.truths[found.row])
        return has_landmark, -found.inliers, run.answers.query_ids[found.row]

    picked: dict[Kind, dict[int, MatchedPair]] = {kind: {} for kind in KINDS}
    for found in sorted(matches, key=urgency):
        picked[name_kind(run, found)].setdefault(found.landmark_id, found)
    return {kind: list(found.values())[:SHOWN] for kind, found in picked.items()}


def name_kind(run: RunAnswers, found: MatchedPair) -> Kind:
    """Say what a match is an example of."""
    truths, given = run.answers.truths[found.row], bool(run.given[found.row])
    if truths and found.landmark_id not in truths:
        return "wrong-class"
    if run.has_solution and not truths:
        return "mismatch"
    return "good" if given and is_verified(found.inliers) else "mismatch"


def draw_match(run: RunAnswers, album: Album, kind: Kind, matched: MatchedPair) -> Image.Image:
    """Draw a query beside its best match, with a line for each inlier and a caption below."""
    query_id = run.answers.query_ids[matched.row]
    near = next(n for n in album.neighbors[query_id] if n.image_id == matched.image_id)
    found = album.verify(query_id, near)
    photos = album.draw_pair(query_id, near, found, PHOTO_BOX)
    inliers = matched.inliers if found is None else found.n_inliers
    answer = "answered" if run.given[matched.row] else "refused"
    facts = f"{answer} · {describe('', near.similarity, inliers)}"
    note = f"{facts} · {query_id} beside {near.image_id}"  # ids may be long: what is cut off
    size = (photos.width + 2 * MARGIN, photos.height + 2 * MARGIN + CAPTION)
    sheet = Image.new("RGB", size, PAPER)
    sheet.paste(photos, (MARGIN, MARGIN))
    below = photos.height + 2 * MARGIN
    title, width = _title(run, album, kind, matched), photos.width
    paper = ImageDraw.Draw(sheet)
    write_line(paper, (MARGIN, below + 8), title, TITLE_SIZE, INK, width=width)
    write_line(paper, (MARGIN, below + 34), note, NOTE_SIZE, SOFT, width=width)
    return sheet


def _title(run: RunAnswers, album: Album, kind: Kind, matched: MatchedPair) -> str:
    """Say in one line what the figure shows."""
    name = album.name(matched.landmark_id)
    truths = [album.name(label) for label in sorted(run.answers.truths[matched.row])]
    if kind == "good":
        return f"Good match: {name}"
    if kind == "wrong-class":
        return f"Wrong class: {' and '.join(truths)}, taken for {name}"
    if run.has_solution and not truths:
        return f"Mismatch: no known landmark, compared with {name}"
    return f"Mismatch: {name}, not confirmed"
