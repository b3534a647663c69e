"""The options that several commands of the command line share."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from embed.errors import InputError

Data = Annotated[
    Path | None,
    typer.Option(
        help="Dataset folder.  \\[default: that of the run, else data/demo]", show_default=False
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        help="Run folder.  \\[default: runs/<name of the dataset folder>]", show_default=False
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="Recipe, by name or .toml file.  "
        "\\[default: that of the run, else demo for the demo city and photos for other data]",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Local .safetensors file to start the backbone from. Where it says what network it "
        "is of, that is trained, not the recipe's.  "
        "\\[default: that of the run, else what the recipe says]",
        show_default=False,
    ),
]
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(?:(h)(?:ours?)?|(m)(?:in(?:utes?)?)?|(s)(?:ec(?:onds?)?)?)(?![a-z])"
)


def parse_time(text: str) -> float:
    """Return a length of time in seconds. Raises typer.BadParameter unless it is one above 0.

    >>> [parse_time(text) for text in ("10m", "90s", "1.5h", "1h30m", "10 minutes")]
    [600.0, 90.0, 5400.0, 5400.0, 600.0]
    """
    parts = [match.groups() for match in LENGTH.finditer(text.lower())]
    seconds = sum(float(number) * UNITS[h or m or s] for number, h, m, s in parts)
    if LENGTH.sub("", text.lower()).strip() or not seconds:
        raise typer.BadParameter(f"'{text}' is no length of time like 10m, 90s, 1h or 1h30m")
    return seconds


Time = Annotated[
    float | None,
    typer.Option(
        "--time",
        metavar="LENGTH",
        parser=parse_time,
        help="How long the run may take, like 10m, 90s or 1h: takes the strongest pretrained "
        "network that this machine does in it, and needs the Hugging Face hub. A run keeps what it "
        "was begun with.  \\[default: none, the recipe decides]",
        show_default=False,
    ),
]
Redo = Annotated[bool, typer.Option("--redo", help="Do this stage again even if it is done.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Cores that decode images beside the one that computes.  \\[default: cores - 1]",
        show_default=False,
    ),
]


def check_share(value: float | None) -> float | None:
    """Return a share as it is. Raises typer.BadParameter unless it is between 0 and 1."""
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"{value} is no share between 0 and 1, like 0.95")
    return value


def min_precision_option(default: str) -> Any:
    """Return the option --min-precision with what its help calls the default."""
    return typer.Option(
        callback=check_share,
        help="Share of the answers that shall be right, like 0.95: the least sure ones become 'no "
        "known landmark' until it holds for the known photos that calibrate the run, whether the "
        "others (decide.distractor_share of all) show other things or landmarks that the database "
        "lacks.  "
        f"\\[default: {default}]",
        show_default=False,
    )


Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What is searched is held in so much memory, like 4GB or 500MB: from about 50,000 "
        "descriptors on, an index is chosen that fits.  \\[default: that of the run, else of the "
        "recipe]",
        show_default=False,
    ),
]
Recall = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="How many of the ten nearest photos are found, like 0.99; 1 compares all.  "
        "\\[default: that of the run, else of the recipe]",
        show_default=False,
    ),
]
MinPrecision = Annotated[float | None, min_precision_option("that of the run, else of the recipe")]


@contextlib.contextmanager
def naming_options() -> Iterator[None]:
    """Raise InputError for settings that pydantic refuses: they were options of the command."""
    from pydantic import ValidationError  # a tenth of a second that `cairn --help` has no need of

    from embed.validation import explain, list_errors  # likewise

    try:
        yield
    except ValidationError as error:
        reasons = (
            f"{'.'.join(map(str, found['loc']))} = {found['input']!r}: {explain(found)}"
            for found in list_errors(error)
        )
        raise InputError("; ".join(reasons)) from error
