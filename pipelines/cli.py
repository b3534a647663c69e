"""The command line: its commands, what they log, and errors turned into advice.

The commands are in commands/. Imports nothing heavy: `cairn --help` and `cairn query` must start
fast.
"""

import functools
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import TyperException

from embed.allocator import keep_freed_memory, keep_imported
from embed.interrupt import INTERRUPTED, end_interrupted, end_when_interrupted
from embed.printable import printable
from pipelines.commands import (
    augmentations,
    balance,
    changes,
    check,
    clean,
    data_report,
    discover,
    explain,
    files,
    gldv2,
    query,
    recipes,
    revisited,
    run,
    scores,
    select,
    serve,
    share,
    sources,
    stages,
    urls,
    verify,
)

GOES_ON = "interrupted; the same command goes on from here"
ANEW = "interrupted; the same command begins anew"
# What was made before Ctrl-C is not made again by these.
RESUMED = frozenset(
    {"discover", "run", "train", "embed", "index", "submit"}
    | {f"data {source}" for source in ("demo", "folders", "urls", "files", "gldv2", "revisited")}
    | {"data check", "data balance", "data clean"}
)
MAKE, QUERY, EVALUATE = "Make a run, stage by stage", "Query", "Evaluate"
SHARE = "Hand a run on"
CHANGE = "Change what is known, without training"
GROUP = "Begin with photos that nobody has labelled"
GET, CHOOSE = "Make a dataset folder", "Look at it, choose from it"


Commands = Mapping[str, Sequence[Callable[..., None]]]  # by the title they are listed under


def _hide_values(parameters: list[Any]) -> list[Any]:
    """Let help show no value for a flag, which takes none."""
    for each in parameters:
        if isinstance(each, TyperOption) and each.is_flag:
            each.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        """Return what the command takes, as its help shows it."""
        return _hide_values(super().get_params(ctx))


class _DataFirst(TyperGroup):
    """Lists groups of commands among the commands, not after all of them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return what the group takes, as its help shows it."""
        return _hide_values(super().get_params(ctx))

    def list_commands(self, context: Any) -> list[str]:
        """Return the names in the order that people need them."""
        return sorted(super().list_commands(context), key=lambda name: name != "data")


def _guard(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that ends in advice where its user can mend what is wrong.

    Anything else is told as a fault of ours. With CAIRN_DEBUG in the environment every error shows
    where it came from.
    """

    @functools.wraps(function)
    def guarded(**options: Any) -> None:
        try:
            function(**options)
        except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
            raise  # typer knows what to do with its own
        except Exception as error:
            if os.environ.get("CAIRN_DEBUG"):
                raise
            from .faults import OURS, advise, report_fault

            advice = advise(error)
            lines = advice or report_fault(error, function.__name__, _find_folder(options))
            print("error:", "\n".join(map(printable, lines)), file=sys.stderr)
            sys.exit(1 if advice else OURS)

    return guarded


def _find_folder(options: Mapping[str, Any]) -> Path:
    """Return the run folder that the options of a command name, or the current folder."""
    from pipelines.runs.job import pick_run  # loads pydantic: not for `cairn --help`

    if "run" in options:
        run = pick_run(options.get("data"), options["run"])
    else:
        run = next(iter(options.get("runs") or ()), Path())
    return run if run.is_dir() else Path()


def _make_app(help: str, commands: Commands, *, completion: bool = False) -> typer.Typer:
    app = typer.Typer(
        help=help,
        cls=_DataFirst,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for panel, functions in commands.items():
        for function in functions:
            name = function.__name__.rstrip("_")  # list_ is list: it hides no builtin
            text = _unwrap(function.__doc__)
            command = app.command(name, cls=_Command, rich_help_panel=panel, help=text)
            command(_guard(function))
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
        GROUP: (discover.discover,),
        MAKE: (run.run, stages.train, stages.embed, stages.index, stages.submit),
        QUERY: (query.query, explain.explain, serve.serve),
        SHARE: (share.pack, share.unpack),
        CHANGE: (changes.add, changes.remove, changes.landmarks, changes.compact),
        EVALUATE: (
            scores.evaluate,
            scores.report,
            scores.compare,
            scores.ablate,
            verify.verify,
        ),
    },
    completion=True,
)
app.add_typer(data, name="data", rich_help_panel=MAKE)
app.add_typer(recipe, name="recipe", rich_help_panel=MAKE)


def _print_version(requested: bool) -> None:
    if requested:
        import importlib.metadata  # .04 s

        print(f"cairn {importlib.metadata.version('cairn')}")
        raise typer.Exit


@app.callback()
def _cairn(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    pass


class _StderrHandler(logging.Handler):
    """Print to what is standard error now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _OneLine(logging.Formatter):
    """Write messages, which name files and classes, so that any terminal can show them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        return printable(record.getMessage())


def prepare_process() -> None:
    """Set what the libraries below read when they start; call it before torch is imported."""
    # With workers beside the main process, threads that spin while they wait starve the others:
    # seen to slow training down fivefold on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Pydantic looks for plugins in all packages that are installed; no setting has need of one.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    keep_freed_memory()


def run_command() -> None:
    """Run the command of sys.argv; raise SystemExit where it ends otherwise than well."""
    prepare_process()
    handler = _StderrHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that it cannot encode end no command
            stream.reconfigure(errors="backslashreplace")
    for noisy in ("faiss", "httpx", "matplotlib", "timm"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if "" in sys.argv[1:]:  # a shell's variable that is not set: as a path it is this folder
        print("error: an argument is empty; is a variable not set?", file=sys.stderr)
        sys.exit(2)
    keep_imported()
    app(prog_name="cairn")


def say_interrupted(arguments: Sequence[str]) -> str:
    """Return what Ctrl-C says at last: whether the same command goes on.

    >>> say_interrupted(["data", "urls", "train.csv"]) == GOES_ON
    True
    >>> say_interrupted(["query", "train"]) == ANEW
    True
    """
    names = {" ".join(arguments[:count]) for count in (1, 2)}
    return GOES_ON if names & RESUMED else ANEW


def main() -> None:
    """Run the command line: a process.

    Exit status 1: what was given has to be mended, and standard error says how. 2: the command was
    not understood. 70: a fault of Cairn. 130: interrupted.
    """
    message = say_interrupted(sys.argv[1:])
    end_when_interrupted(message)
    try:
        run_command()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            end_interrupted(message)
        raise
    except KeyboardInterrupt:
        end_interrupted(message)
