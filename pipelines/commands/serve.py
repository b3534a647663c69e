"""The command serve: a run as a page and a JSON API."""

import importlib.util
import os
import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from embed.allocator import importing
from embed.errors import InputError, install_extra

from .options import Data, Run, min_precision_option

if TYPE_CHECKING:
    from pipelines.serve.options import ServeOptions

TOKEN = "CAIRN_TOKEN"  # of the environment
LARGEST_MEGAPIXELS = 10_000


def serve(
    data: Data = None,
    run: Run = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; any but this machine's own needs the token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            help="What others must send to ask, and all to add or remove; other programs of this "
            f"machine can see it here, not in {TOKEN} of the environment.  "
            f"\\[default: {TOKEN}, else made and printed]",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A further name that requests call the server by, such as that of a proxy before "
            "it; then all need the token.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Another page that may ask, like https://example.org.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(min=0.1, max=1024, help="MiB that a request may have.")
    ] = 32.0,
    max_megapixels: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=LARGEST_MEGAPIXELS,
            help="Megapixels that a photo may have.  \\[default: decode.max_megapixels of the run]",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, max=10_000, help="Photos that wait; further ones get 429.")
    ] = 64,
    max_wait: Annotated[
        float,
        typer.Option(min=0.1, max=3600, help="Seconds; whoever would wait longer gets 429."),
    ] = 3.0,
    time_limit: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds to wait for an answer.")
    ] = 30.0,
    min_precision: Annotated[float | None, min_precision_option("that of the run")] = None,
) -> None:
    """Answer photos over HTTP: a page for people, and a JSON API (/openapi.json) for programs.

    The page is at the address that is printed. Logs go to standard error. SIGTERM or Ctrl-C end it
    when what was accepted is answered, with exit status 0.
    """
    with importing():
        from pipelines.answers.engines import begin_engines
        from pipelines.runs.job import find_moved, pick_run, read_run
        from pipelines.runs.recipe import make_recipe
        from pipelines.serve.options import ServeOptions

        folder, made = pick_run(data, run), secrets.token_urlsafe(24)
        options = ServeOptions(
            host=host,
            port=port,
            token=token or os.environ.get(TOKEN) or made,
            names=tuple(allow_host or ()),
            origins=tuple(cors or ()),
            max_upload=int(max_upload * (1 << 20)),
            max_pixels=int((max_megapixels or LARGEST_MEGAPIXELS) * 1e6),
            queue=queue,
            longest_wait=max_wait,
            time_limit=time_limit,
        )
        if recorded := read_run(folder):  # the network is compiled while the rest is imported
            begin_engines(folder, make_recipe(recorded["settings"], str(folder)))
        _require_extra()
        from pipelines.recognizer import Recognizer
        from pipelines.serve.server import make_server, open_socket
    with open_socket(options) as listening:
        recognizer = Recognizer.load(
            folder, min_precision=min_precision, data=find_moved(data, folder)
        )
        server = make_server(recognizer, options)
        _say_where(options, listening.getsockname()[1], show_token=options.token == made)
        server.run(sockets=[listening])


def _require_extra() -> None:
    """Raise InputError where the packages of the extra are not installed."""
    names = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise InputError(f"serve needs {', '.join(missing)}; {install_extra('serve')}")


def _say_where(options: "ServeOptions", port: int, *, show_token: bool) -> None:
    """Print the address; a token that was made stands behind #, which browsers do not send."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{port}/"
    if show_token:
        address += f"#token={options.token}"
    needs = "asks, adds and removes" if options.is_private else "adds and removes"
    print(f"serving {address}\nthe token {needs}; Ctrl-C ends the server", flush=True)
