"""The command data urls: a dataset of images that are downloaded."""

from pathlib import Path
from typing import Annotated

import typer

from .options import naming_options


def urls(
    train: Annotated[Path, typer.Argument(help="Table id,url,landmark_id: CSV or Parquet.")],
    data: Annotated[Path, typer.Option(help="Dataset folder to write.", show_default=False)],
    test: Annotated[
        Path | None, typer.Option(help="Table id,url of the queries.", show_default=False)
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="Table id,url,landmark_id of the images to search.  \\[default: those of train]",
            show_default=False,
        ),
    ] = None,
    non_landmark: Annotated[
        Path | None,
        typer.Option(help="Table id,url of images without any landmark.", show_default=False),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            help="Stored as: original, 256 (a square), 250-crop (a square cut from the middle) or "
            "1024-fit (longer side, shape kept); any number of pixels."
        ),
    ] = "original",
    connections: Annotated[
        int, typer.Option(min=1, max=512, help="Requests at one time, of all hosts.")
    ] = 64,
    per_host: Annotated[int, typer.Option(min=1, help="Requests at one time, of one host.")] = 8,
    tries: Annotated[int, typer.Option(min=1, help="Requests for one image, at most.")] = 4,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a byte that end a request.")
    ] = 20.0,
    max_megabytes: Annotated[
        float, typer.Option(min=0.01, help="Larger images are refused.")
    ] = 32.0,
    user_agent: Annotated[
        str | None,
        typer.Option(
            help="How to introduce yourself, best with an address: some hosts insist.  "
            "\\[default: cairn, and what it is]",
            show_default=False,
        ),
    ] = None,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Ask again for what failed for good before.")
    ] = False,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            help="Connect to private addresses and any port, too: only for tables you trust.",
        ),
    ] = False,
) -> None:
    """Download the images of tables of URLs.

    Goes on where an interrupted download stopped; failures.parquet says why an image is missing.
    """
    from pipelines.sources.download.dataset import download_dataset
    from pipelines.sources.download.settings import DownloadSettings

    with naming_options():
        settings = DownloadSettings(
            size=size,
            connections=connections,
            per_host=per_host,
            max_tries=tries,
            silence_timeout=timeout,
            max_bytes=int(max_megabytes * (1 << 20)),
            allow_private=allow_private,
            **({} if user_agent is None else {"user_agent": user_agent}),
        )
    done = download_dataset(
        train,
        data,
        test=test,
        index=index,
        non_landmark=non_landmark,
        settings=settings,
        retry_failures=retry_failures,
    )
    print(f"{data}: {done}")
    if done.failed:
        print(f"{data / 'failures.parquet'} says why, image by image")
