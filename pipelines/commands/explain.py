"""The command explain: what in photos spoke for their answers, as pictures."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Data, Run


def explain(
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    data: Data = None,
    run: Run = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the pictures.  \\[default: explain/ in the run folder]",
            show_default=False,
        ),
    ] = None,
    landmark_id: Annotated[
        int | None,
        typer.Option(
            "--class",
            metavar="LANDMARK_ID",
            help="Explain what the classification head says of this landmark.  "
            "\\[default: the neighbour that speaks most for the answer; its own class where the "
            "recipe lets the head alone answer]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw what in a photo spoke for the answer: saliency, Grad-CAM, and the attention of DELF."""
    from embed.printable import printable
    from pipelines.datasets.images import list_images
    from pipelines.reports.explain import Explainer
    from pipelines.runs.job import find_moved, pick_run

    paths = list_images(images)
    run = pick_run(data, run)
    explainer = Explainer(run, find_moved(data, run), into=into, landmark_id=landmark_id)
    unread = 0
    for path in paths:
        explained = explainer.explain(path)
        answer = explained.answer
        if answer.error:
            unread += 1
            print(printable(f"{path}: not read: {answer.error}"), flush=True)
            continue
        known = answer.label is not None
        said = f"{answer.name}, confidence {answer.confidence:.3f}" if known else "no landmark"
        shown = f"{path}: {said}; {explained.subject}; wrote {explained.path}"
        print(printable(shown), flush=True)
    if unread:
        raise typer.Exit(1)
