"""The commands add, remove, landmarks and compact: a database that grows without training."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Data, Run

if TYPE_CHECKING:
    from pipelines.runs.job import Job
    from pipelines.sources.new_photos import NewPhoto

NAMED = 10  # ids that are printed of the photos of a landmark


def add(
    photos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Photos, or folders of them. With neither label nor name: a folder that holds a "
            "folder a thing, named after it. With a table: the folder that it names files from.  "
            "\\[default: that of the table]",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    run: Run = None,
    label: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**53,
            help="Number of the landmark that the photos show.  "
            "\\[default: that of the name, else the next free one]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Its name; a new landmark needs one.  \\[default: that of the number]",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with a row a photo: id or path; landmark_id or name.  "
            "\\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Add photos to the database of a run, which finds them from then on; nothing is trained.

    Photos of a landmark that is there, or of a new one. What the database has already is left out
    and named. Photos that cannot be read are left out, too; exit status 1 if there are some.
    """
    from embed.printable import printable
    from pipelines.stages.add import add_photos
    from pipelines.stages.compact import compact_if_many

    listed = _list_photos(photos or [], label, name, table)
    job = _open_job(data, run)
    naming = "--name NAME" if table is None else f"in the column name of {table}"
    done = add_photos(job, listed, naming)
    for landmark, ids in done.added.items():
        named = ", ".join(ids[:NAMED]) + f" and {len(ids) - NAMED} more" * (len(ids) > NAMED)
        new = " (new)" if landmark.new else ""
        print(printable(f"added {_count(len(ids))} of {landmark}{new}: {named}"))
    for known in done.known:
        line = f"the database has it, as {known.image_id} of {known.landmark}"
        if known.landmark.label != known.asked.label:
            words = ["cairn", "remove", "--run", str(job.run), "--image", known.image_id]
            line += f"; for it to be of {known.asked}, first: {shlex.join(words)}"
        print(printable(f"left out {known.path}: {line}"))
    for failure in done.failures:
        print(printable(f"not read: {failure.message}"))
    if done.change:
        compact_if_many(job)
    if done.failures:
        raise typer.Exit(1)


def remove(
    data: Data = None,
    run: Run = None,
    label: Annotated[
        list[int] | None,
        typer.Option(
            help="A landmark, all photos of which go. Can be given several times.  "
            "\\[default: none]",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            help="The id of a photo that goes. Can be given several times.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Remove photos from the database of a run, which does not find them any more.

    Of a landmark without photos no answer speaks. The photos of the dataset stay where they are,
    and so does the dataset.
    """
    from pipelines.stages.compact import compact_if_many
    from pipelines.stages.remove import remove_photos

    if not (label or image):
        raise typer.BadParameter("say what goes: --label NUMBER, or --image ID")
    job = _open_job(data, run)
    done = remove_photos(job, label or [], image or [], "`cairn landmarks` lists all")
    for landmark_id, count in done.counts.items():
        left = done.left[landmark_id]
        rest = f"{_count(left)} left" if left else "none is left"
        print(f"removed {_count(count)} of landmark {landmark_id}, {rest}")
    compact_if_many(job)


def landmarks(
    data: Data = None,
    run: Run = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one line a landmark.")
    ] = False,
) -> None:
    """List the landmarks in the database of a run: number, photos, name."""
    import json

    from pipelines.answers.live import load_live
    from pipelines.reports.tables import open_console, print_landmarks

    live = load_live(_open_job(data, run).run)
    table = live.table
    counts = table.class_sizes(table.landmarks).tolist()
    rows = [(n, live.names.get(n), count) for n, count in zip(table.landmarks, counts, strict=True)]
    if not as_json:
        print_landmarks(rows, open_console())
        return
    for landmark_id, name, count in rows:
        values = {"landmark_id": int(landmark_id), "name": name, "photos": count}
        print(json.dumps(values, ensure_ascii=False))


def compact(data: Data = None, run: Run = None) -> None:
    """Put all changes since the database of a run was indexed into one.

    What is found stays the same. Commands that add or remove do it by themselves, now and then.
    """
    from pipelines.stages.compact import compact as put_together

    done = put_together(_open_job(data, run))
    print(f"all changes are in {done.folder}" if done else "there is nothing to put together")


def _open_job(data: Path | None, run: Path | None) -> "Job":
    """Return the run that is asked for, with the recipe that it has recorded."""
    from embed.errors import MissingFileError
    from pipelines.runs.job import find_moved, open_job, pick_run

    run = pick_run(data, run)
    if not (run / "run.json").is_file():
        raise MissingFileError(f"no run in {run}; make one: cairn index --data FOLDER --run {run}")
    return open_job(find_moved(data, run), run, None, None)


def _list_photos(
    photos: list[Path], label: int | None, name: str | None, table: Path | None
) -> "list[NewPhoto]":
    from pipelines.sources.new_photos import list_of_classes, list_of_one, list_of_table

    if table is not None:
        if label is not None or name is not None or len(photos) > 1:
            raise typer.BadParameter("a table says what its photos show: leave the rest away")
        return list_of_table(table, next(iter(photos), None))
    if not photos:
        raise typer.BadParameter("name photos, a folder of them, or a table: --table FILE")
    if label is not None or name is not None:
        return list_of_one(photos, label, name)
    return list_of_classes(photos)


def _count(photos: int) -> str:
    return "1 photo" if photos == 1 else f"{photos} photos"
