"""Write the report of a run: one HTML file with its figures, its errors and their photos.

Reads the run folder and the dataset. Writes report.html. Nothing in it depends on when or where the
run was made: the same run gives the same bytes.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from embed.history import CURVES
from pipelines.answers.decision import load_decision_values
from pipelines.runs.integrity import intact_file
from pipelines.runs.job import Job
from pipelines.runs.members import list_member_jobs
from pipelines.scores.evaluate import find_submission, load_promised

from . import confidence
from .album import Album, open_album
from .answers import RunAnswers, read_answers
from .cases import CaseBuilder
from .figures import make_score_tiles, make_scores
from .groups import make_groups, pick_cases
from .pictures import encode_data_uri
from .records import Picture, Report
from .render import save_page

NAME = "report.html"


def write_report(job: Job, metrics: Mapping[str, Any] | None) -> Path:
    """Write the report of a run into its folder, and return where it is; errors as collect_report.

    Args:
        job: the run.
        metrics: what evaluate_run says of it; None without a solution.
    """
    path = job.run / NAME
    save_page("report", collect_report(job, metrics), path)
    return path


def collect_report(job: Job, metrics: Mapping[str, Any] | None) -> Report:
    """Collect what the report shows. Arguments as write_report.

    Raises:
        FileNotFoundError: the run has no finished submission, or the dataset no images.
        ValueError: the solution does not fit the run.
    """
    find_submission(job.run)
    solution = None if metrics is None else job.dataset.solution
    answers = read_answers(job.run, solution)
    picked = pick_cases(answers)
    album = open_album(job, [answers.answers.query_ids[row] for row in picked.rows])
    judged = confidence.judge(job.run, answers, _read_threshold(job))
    tiles = [] if metrics is None else make_score_tiles(metrics)
    if judged is not None:
        promised = metrics["operating_point"] if metrics else load_promised(job.run, None)
        tiles += confidence.make_tiles(*judged, promised)
    return Report(
        title=job.run.resolve().name,
        facts=tuple(_facts(job, album, answers)),
        tiles=tuple(tiles),
        scores=None if metrics is None else make_scores(metrics),
        measured_on="" if judged is None else confidence.PHOTOS[answers.has_solution],
        charts=() if judged is None else tuple(confidence.make_charts(*judged)),
        curves=tuple(_read_curves(job)),
        groups=tuple(make_groups(answers, picked, CaseBuilder(answers, album))),
        failures=answers.unread,
    )


def _facts(job: Job, album: Album, run: RunAnswers) -> list[tuple[str, str]]:
    """Return what the report is of, name by name."""
    recipe, rerank, database = job.recipe, job.recipe.rerank, album.database
    name = Path(job.recipe_name).stem  # a path would differ between machines
    verified = f"{rerank.method}, {rerank.model} transforms, {rerank.candidates} candidates"
    threshold = _read_threshold(job)
    limit = "" if threshold is None else f", answers from confidence {threshold:.3f} on"
    return [
        ("recipe", f"{name}: {recipe.description}" if recipe.description else name),
        ("dataset", job.dataset.name),
        ("database", f"{database.images.live} photos of {len(database.rows.landmarks)} landmarks"),
        ("test", f"{len(run.answers.query_ids)} photos"),
        ("model", f"{_name_models(job)}, {database.images.dim} values"),
        ("local features", "none" if rerank.method == "none" else verified),
        ("decision", f"{recipe.decide.policy}{limit}"),
    ]


def _read_threshold(job: Job) -> float | None:
    """Return the confidence that answers must reach; None where the policy has another rule."""
    if job.recipe.decide.make_policy().rejection.name != "none":
        return None
    values = load_decision_values(job.run)
    return math.inf if values["threshold"] is None else float(values["threshold"])


def _name_models(job: Job) -> str:
    """Return the networks of a run, with the first digits of what their weights are known by."""
    names = []
    for member in list_member_jobs(job):
        model = json.loads(intact_file(member.run / "model", "model.json").read_bytes())
        spec = model["spec"]
        architecture = f"{spec['backbone']['architecture']} at {spec['image_size']} px"
        names.append(f"{architecture} ({model['fingerprint'][:12]})")
    return " + ".join(names)


def _read_curves(job: Job) -> Iterator[Picture]:
    """Yield the plot of each model's training, where one was made."""
    members = list_member_jobs(job)
    for member in members:
        path = member.run / "model" / CURVES
        if not path.is_file():
            continue
        with Image.open(path) as image:
            width, height = image.size
        uri = encode_data_uri(path.read_bytes(), "image/png")
        title = member.run.name if len(members) > 1 else ""
        yield Picture(uri, "losses and held-out figures by epoch", width, height, title)
