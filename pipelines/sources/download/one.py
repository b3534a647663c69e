"""Download a single image for who waits for it; nothing is kept.

The rules are those of a table of URLs: no private address, after any redirect, and every wait and
every size limited. Writes no file.
"""

import asyncio

from embed.errors import InputError
from embed.printable import printable

from .addresses import is_public
from .failures import FetchError
from .fetch import fetch, open_session
from .settings import DownloadSettings

# Somebody waits: less patience than for the images of a table.
PATIENCE = DownloadSettings(grace=20.0, min_rate=50_000, connections=1, per_host=1)


def download_image(url: str, *, allow_private: bool = False) -> bytes:
    """Return what is found at a URL, asked for once.

    Args:
        url: http:// or https://, on a port of the web.
        allow_private: connect to private addresses and any port, too.

    Raises:
        InputError: for whatever reason it could not be had.
    """
    settings = PATIENCE.model_copy(update={"allow_private": allow_private})

    async def ask() -> bytes:
        async with open_session(settings, lambda host: allow_private or is_public(host)) as session:
            return await fetch(session, url, settings)

    try:
        return asyncio.run(ask())
    except FetchError as error:
        raise InputError(f"{printable(url)}: {error}") from error
