"""The command query: which known thing is in photos, or none."""

import gc
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Data, Run, min_precision_option


def query(
    images: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    data: Data = None,
    run: Run = None,
    neighbors: Annotated[
        int,
        typer.Option(
            min=0, help="Photos of the database to show: for the answer, the last for another."
        ),
    ] = 5,
    min_precision: Annotated[float | None, min_precision_option("that of the run")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line a photo.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Page to write, with the photos and match lines.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Recognise photos: label, name, confidence, or no known landmark, and what speaks for it.

    Photos of the database stand below each answer: first those of the landmark, or of the likeliest
    one where none is known, the strongest first; the last is the strongest of another. "not
    verified" is what has no more inliers than chance gives. "also" names what is in another part of
    the photo, where the recipe of the run asks for it: decide.most_answers.
    """
    gc.disable()  # all that is imported stays: looking for garbage in it takes .1 s
    try:
        from pipelines.answers.engines import begin_engines
        from pipelines.datasets.images import list_images
        from pipelines.runs.job import find_moved, pick_run, read_run
        from pipelines.runs.recipe import make_recipe

        paths, folder = list_images(images), pick_run(data, run)
        if recorded := read_run(folder):  # the network is compiled while the rest is imported
            begin_engines(folder, make_recipe(recorded["settings"], str(folder)))
        from embed.printable import encodable
        from pipelines.recognizer import Recognizer
        from pipelines.reports.tables import open_console, print_answer
    finally:
        gc.enable()
    recognizer = Recognizer.load(folder, min_precision=min_precision, data=find_moved(data, folder))
    console, answers = open_console(), []
    for path in paths:
        answer = recognizer.recognize(path, neighbors=neighbors)
        answers.append(answer)
        if as_json:
            # Of a name that is no UTF-8 the bytes are shown: JSON is UTF-8.
            texts = {"image": encodable(answer.image), "error": encodable(answer.error)}
            print(json.dumps(answer.to_json() | texts, ensure_ascii=False), flush=True)
        else:
            print_answer(answer, console)
    if html is not None:
        from pipelines.reports.page.query_page import write_query_page

        write_query_page(recognizer, answers, html)
        print(f"wrote {html}", file=sys.stderr)  # standard output may be JSON
    if any(answer.error for answer in answers):
        raise typer.Exit(1)
