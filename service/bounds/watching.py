"""Work that ends where the client that waits for it goes away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.problems import Problem

WATCHED_AFTER = 0.1  # seconds; before that, finding out that a client went away costs more than it saves

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` for a client that waits; cancel it where the client goes away."""
    task = asyncio.ensure_future(work)
    gone = None
    try:
        await asyncio.wait({task}, timeout=WATCHED_AFTER)
        if not task.done():
            gone = asyncio.ensure_future(_gone(request))
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Problem(408, "client_gone", "the client went away")
    finally:
        for left in (task, gone):
            if left is not None and not left.done():
                left.cancel()
                await asyncio.gather(left, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
