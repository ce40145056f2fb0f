"""Work that ends where the client that waits for it goes away."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Protocol, TypeVar

from service.refusals import TooSlow

WATCHED_AFTER = 0.1  # seconds; before that, finding out that a client went away costs more than it saves

T = TypeVar("T")


class WaitingClient(Protocol):
    """Who waits for an answer: a request, as ASGI hands it over."""

    @property
    def receive(self) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
        """Gives its next message, such as ``{"type": "http.disconnect"}``."""


async def while_connected(client: WaitingClient, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` for a client that waits; cancel it where the client goes away."""
    task = asyncio.ensure_future(work)
    gone = None
    try:
        await asyncio.wait({task}, timeout=WATCHED_AFTER)
        if not task.done():
            gone = asyncio.ensure_future(_gone(client))
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TooSlow("the client went away", slug="client_gone")
    finally:
        for left in (task, gone):
            if left is not None and not left.done():
                left.cancel()
                await asyncio.gather(left, return_exceptions=True)


async def _gone(client: WaitingClient) -> None:
    while (await client.receive())["type"] != "http.disconnect":
        pass
