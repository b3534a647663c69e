"""Draw answers.jpg: a sample of a run's answers, each beside the photos that speak for it.

Reads predictions.parquet, neighbors.parquet, verified.parquet and the images of the sample.
"""

from collections.abc import Iterator

from classify_head.gap import NO_LANDMARK
from pipelines.answers.supporters import name_landmark, order_supporters
from pipelines.artifacts import writing
from pipelines.reports.page.answers import RunAnswers, read_answers
from pipelines.reports.page.neighbors import Neighbor, read_neighbors
from pipelines.reports.page.pairs import describe
from pipelines.runs.artifact import SHEET
from pipelines.runs.job import Job

from .gallery import Picture, draw_gallery, spread

SAMPLE, SHOWN = 8, 4  # queries, and database images beside each


def draw_answers(job: Job) -> None:
    """Draw the sheet of a finished submission; none if no query could be read."""
    run = read_answers(job.run, None)
    unread = {query_id for query_id, _ in run.unread}
    read = [row for row, query_id in enumerate(run.answers.query_ids) if query_id not in unread]
    confidences = run.answers.confidence[read]
    rows = [read[place] for place in spread(confidences.tolist(), SAMPLE)]
    neighbors = read_neighbors(job, [run.answers.query_ids[row] for row in rows])
    sample = [list(_show(job, run, row, neighbors)) for row in rows]
    if sample:
        with writing(job.run / SHEET) as temporary:
            draw_gallery(sample, temporary)


def _show(
    job: Job, run: RunAnswers, row: int, neighbors: dict[str, list[Neighbor]]
) -> Iterator[Picture]:
    """Yield a query and what speaks for its answer, then what speaks for another."""
    query_id, given, guess = run.answers.query_ids[row], bool(run.given[row]), int(run.guesses[row])
    label = None if guess == NO_LANDMARK else guess
    name = "no known landmark"
    if given and label is not None:
        name = _name(job, label)
    note = f"confidence {run.answers.confidence[row]:.3f}"
    if not given and label is not None:
        note += f" of {_name(job, label)}"
    yield Picture(job.dataset.locate(query_id), name, note, answered=given)
    for near in order_supporters(neighbors[query_id], label, SHOWN):
        title = name_landmark(near, label, _name(job, near.landmark_id))
        note = describe("", near.similarity, near.inliers)
        yield Picture(job.dataset.locate(near.image_id), title, note)


def _name(job: Job, landmark_id: int) -> str:
    return job.dataset.names.get(landmark_id, str(landmark_id))
