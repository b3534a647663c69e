"""The commands pack and unpack: a run as one file for others."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Data


def pack(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    file: Annotated[Path, typer.Argument(help="The ZIP to write.")],
    data: Data = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images",
            help="Put the photos in, with all that is in their files, like the place. Otherwise "
            "pages show thumbnails of them.",
        ),
    ] = False,
) -> None:
    """Write a run into one file that answers anywhere, with a model card.

    What only the training needs is left out, and nothing in it is code.
    """
    from pipelines.reports.units import format_bytes
    from pipelines.runs.job import find_moved, open_job
    from pipelines.scores.evaluate import can_evaluate, evaluate_run
    from pipelines.share.card import make_card
    from pipelines.share.contents import choose_contents
    from pipelines.share.pack import pack_run

    job = open_job(find_moved(data, run), run, None, None)
    scored = choose_contents(job).submitted and can_evaluate(job.dataset)
    metrics = evaluate_run(job.run, job.dataset) if scored else None
    done = pack_run(job, file, make_card(job, metrics), images=images)
    what = "photos" if images else "thumbnails"
    unread = "1 photo" if done.left_out == 1 else f"{done.left_out} photos"
    gone = f", {unread} could not be read" * bool(done.left_out)
    size = f"{format_bytes(done.bytes)}, {done.files} files"
    print(f"wrote {file}: {size}, {done.photos} {what}{gone}")
    print(f"sha256 {done.sha256}")


def unpack(
    file: Annotated[Path, typer.Argument(help="What `cairn pack` wrote.")],
    run: Annotated[Path, typer.Argument(help="The run folder to make, which is not there yet.")],
) -> None:
    """Unpack a run that was packed, each file of which is checked; nothing of it is executed.

    The folder is there when all is well, and not before.
    """
    from pipelines.reports.units import format_bytes
    from pipelines.share.card import README
    from pipelines.share.unpack import unpack_run

    archive = unpack_run(file, run)
    size = format_bytes(sum(member.bytes for member in archive.members))
    count = len(archive.members) + 1
    print(f"unpacked {run}: {size}, {count} files; {run / README} says what it is")
    print(f"ask it: cairn query --run {run} photo.jpg")
