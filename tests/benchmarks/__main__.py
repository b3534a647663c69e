"""Print figures of the README: all benchmarks that take a minute or so, or those that are named.

Imports a benchmark when it is its turn. Of what is not listed to be run here the help says how.
"""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from tests.docs_map import describe

OF_RUN = ("demo", "query", "rerank")  # read a finished run
OF_NOTHING = ("engine", "precision", "decode", "store", "damage")
# They take long, or processes of their own, and what they take is not a run alone.
ALONE = {
    "allocator": "",
    "chance": "FOLDER FOLDER",
    "check": "[DATA...]",
    "discover": "DATA --into FOLDER",
    "download": "[rate] [faults] [kills]",
    "embed_pipeline": "[DATA] [--models NAME...]",
    "evaluate": "",
    "export": "",
    "fit": "DATA... --weights FILE",
    "fuzz": "[--images N]",
    "gpu": "DATA",
    "hard": "RUN [CASE...]",
    "index": "[--count N...] [--run RUN] [--memory SIZE] [--recall SHARE] [--sides NAME...]",
    "interrupt": "",
    "landmarks": "",
    "large_head": "",
    "memory": "DATA --into FOLDER",
    "open": "",
    "promise": "DATA --into FOLDER",
    "quality": "DATA --into FOLDER --weights FILE",
    "regions": "DATA --weights FILE",
    "reports": "DATA --into FOLDER",
    "sampling": "",
    "serve": "RUN [--seconds N]",
    "several": "RUN --into FOLDER",
    "steady": "[--images N]",
    "superglobal": "[RUN...]",
    "tables": "",
    "train_step": "[DATA]",
    "unseen": "DATA --into FOLDER",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks and print what they measured."""
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    names = chosen.names or (*OF_RUN, *OF_NOTHING)
    if not (chosen.run / "run.json").is_file() and any(name in OF_RUN for name in names):
        parser.error(
            f"no run in {chosen.run}: `make submission` makes runs/demo; or name yours: --run "
            f"FOLDER; without a run: {', '.join(OF_NOTHING)}"
        )
    for name in names:
        given = (chosen.run,) if name in OF_RUN else ()
        print(f"{name}: {_say(name)}", flush=True)
        print(importlib.import_module(_module(name)).run(*given) + "\n", flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    here = "".join(f"  {name:10} {_say(name)}\n" for name in (*OF_RUN, *OF_NOTHING))
    alone = "".join(f"  {_command(name)}\n      {_say(name)}\n" for name in ALONE)
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"Print figures of the README. Benchmarks:\n{here}",
        epilog=f"Run alone, as they take minutes to hours:\n{alone}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", type=_known, metavar="NAME", help="of a benchmark; all without one"
    )
    parser.add_argument(
        "--run", type=Path, default=Path("runs/demo"), help="a finished run; %(default)s"
    )
    return parser


def _known(name: str) -> str:
    if name in (*OF_RUN, *OF_NOTHING):
        return name
    alone = f"; it is run alone: {_command(name)}" if name in ALONE else ""
    raise argparse.ArgumentTypeError(f"no benchmark {name!r} here{alone}")


def _command(name: str) -> str:
    return f"python -m {_module(name)} {ALONE[name]}".rstrip()


def _module(name: str) -> str:
    return f"tests.benchmarks.bench_{name}"


def _say(name: str) -> str:
    return describe(Path(__file__).with_name(f"bench_{name}.py"))


if __name__ == "__main__":
    main()
