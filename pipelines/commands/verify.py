"""The command verify: every file of a run against what was written."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def verify(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder.  \\[default: runs/demo]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check that every file of a run is as it was written; exit status 1 if one is damaged.

    Whatever is damaged is named with the command that makes it anew. Stale is what the next command
    makes again anyway, as something before it has changed. Commands check what they load
    themselves: this is for a run that was copied, or lay on a disk that cannot be trusted.
    """
    from pipelines.reports.tables import open_console, print_checked
    from pipelines.runs.job import pick_run
    from pipelines.runs.verify import verify_run

    found = verify_run(pick_run(None, run))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print_checked(found, open_console())
    if any(each.damages for each in found):
        raise typer.Exit(1)
