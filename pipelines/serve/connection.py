"""Wait for an answer as long as the client does: of whoever is gone nothing is asked any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")


async def while_connected(request: Request, answer: Coroutine[Any, Any, Result]) -> Result:
    """Return an answer; cancel it when the client closes its connection.

    Args:
        request: whose body was read.
        answer: what the client waits for.

    Raises:
        ClientDisconnect: the client is gone.
    """
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientDisconnect
        return answering.result()
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
