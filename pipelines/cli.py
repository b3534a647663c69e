"""The command line: its commands, what they log, and errors turned into advice.

The commands are in commands/. Imports nothing heavy: `cairn --help` and `cairn query` must start
fast.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from .commands import (
    ask,
    augmentations,
    balance,
    check,
    clean,
    data_report,
    explain,
    files,
    gldv2,
    judge,
    recipes,
    revisited,
    run,
    select,
    sources,
    stages,
    urls,
    verify,
)

INTERRUPTED = 130  # what typer makes of Ctrl-C
MAKE, ASK, JUDGE = "Make a run, stage by stage", "Ask", "Judge"
GET, CHOOSE = "Make a dataset folder", "Look at it, choose from it"


Commands = Mapping[str, Sequence[Callable[..., None]]]  # by the title they are listed under


class _DataFirst(TyperGroup):
    """Lists groups of commands among the commands, not after all of them."""

    def list_commands(self, context: Any) -> list[str]:
        """Return the names in the order that people need them."""
        return sorted(super().list_commands(context), key=lambda name: name != "data")


def _make_app(help: str, commands: Commands) -> typer.Typer:
    app = typer.Typer(
        help=help,
        cls=_DataFirst,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for panel, functions in commands.items():
        for function in functions:
            name = function.__name__.rstrip("_")  # list_ is list: it hides no builtin
            app.command(name, rich_help_panel=panel, help=_unwrap(function.__doc__))(function)
    return app


def _unwrap(text: str | None) -> str:
    """Return a docstring with a line a paragraph: help is broken where the terminal ends."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


data = _make_app(
    "Make a dataset folder, look at it, choose from it.",
    {
        GET: (
            sources.demo,
            sources.folders,
            urls.urls,
            files.files,
            gldv2.gldv2,
            revisited.revisited,
        ),
        CHOOSE: (
            data_report.report,
            check.check,
            select.select,
            balance.balance,
            clean.clean,
            augmentations.augmentations,
        ),
    },
)
recipe = _make_app(
    "Look at the recipes: what a run does besides its data.",
    {"Commands": (recipes.list_, recipes.show, recipes.check)},
)
app = _make_app(
    "Which of these known things is in this photo, how sure are we, or is it none of them?",
    {
        MAKE: (run.run, stages.train, stages.embed, stages.index, stages.submit),
        ASK: (ask.query, explain.explain),
        JUDGE: (judge.evaluate, judge.report, judge.compare, judge.ablate, verify.verify),
    },
)
app.add_typer(data, name="data", rich_help_panel=MAKE)
app.add_typer(recipe, name="recipe", rich_help_panel=MAKE)


class _StderrHandler(logging.Handler):
    """Print to what is standard error now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line; a deliberate error is one line of advice and exit status 1."""
    # With workers beside the main process, threads that spin while they wait starve the others:
    # seen to slow training down fivefold on two cores. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_StderrHandler()])
    for noisy in ("faiss", "httpx", "matplotlib", "timm"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the same command goes on from here", file=sys.stderr)
        raise
    except Exception as error:
        sys.exit(_advise(error))


def _advise(error: Exception) -> str:
    """Return what to tell the user of an error; raises it again if it is not a deliberate one.

    With CAIRN_DEBUG in the environment every error shows where it came from.
    """
    from .artifacts import is_disk_full

    if is_disk_full(error):
        first = (str(error).splitlines() or [""])[0]  # torch adds its call stack
        return f"error: the disk is full; free some space and run the same command ({first})"
    if os.environ.get("CAIRN_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"error: {error.filename}: {error.strerror.lower()}"
    is_extra = isinstance(error, ImportError) and error.name is None  # Python's own name a module
    if isinstance(error, ValueError | OSError) or is_extra:
        return f"error: {_explain(error)}"
    raise error


def _explain(error: Exception) -> str:
    """Return the message of an error; of settings that pydantic refuses a short one."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(_explain_setting(found) for found in error.errors())


def _explain_setting(found: Any) -> str:
    place, message = ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
    return f"{place} = {found['input']!r}: {message}" if place else message
