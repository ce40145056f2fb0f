"""Time that passes only while everyone waits, so that tests of waiting take none and come out the same."""

import asyncio
import heapq
from collections.abc import Coroutine
from itertools import count
from typing import Any

SETTLING_STEPS = 50  # more than any chain of callbacks in these tests


class VirtualTime:
    """A clock and a sleep that belong together. It begins at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()

    def clock(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        until = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self._now + seconds, next(self._number), until))
        await until

    async def run(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run coroutines at the same time, and return their results or errors."""
        everything = asyncio.gather(*work, return_exceptions=True)
        while True:
            for _ in range(SETTLING_STEPS):
                await asyncio.sleep(0)
            if everything.done():
                return list(everything.result())
            self._now, _, until = heapq.heappop(self._waiting)
            if not until.done():  # whoever waited may have been cancelled
                until.set_result(None)
