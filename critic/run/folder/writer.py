"""One thread that writes: whatever gathers while it is busy goes together into the next commit, in order.

So thousands of commits a second are possible, each on disk before its caller goes on.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

COMMIT_AT_MOST = 5000


class Writer(threading.Thread, Generic[T]):
    """Hands what has gathered to ``commit``, which stores all of it or raises.

    What it raises once, every later write raises, too: nothing is stored after something was lost.
    """

    def __init__(self, name: str, commit: Callable[[Sequence[T]], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._commit = commit
        self._waiting: queue.SimpleQueue[tuple[T, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._error: Exception | None = None

    async def write(self, entry: T) -> None:
        """Return when the entry is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.put((entry, done))
        await done

    def stop(self) -> None:
        """Commit what waits, and end."""
        self._waiting.put(None)
        self.join()

    def run(self) -> None:
        """The thread's loop."""
        ending = False
        while not ending:
            batch = [self._waiting.get()]
            while len(batch) < COMMIT_AT_MOST and not self._waiting.empty():
                batch.append(self._waiting.get())
            ending = None in batch
            self._store([entry for entry in batch if entry is not None])

    def _store(self, batch: list[tuple[T, "asyncio.Future[None]"]]) -> None:
        if not batch:
            return
        if self._error is None:
            try:
                self._commit([entry for entry, _ in batch])
            except Exception as error:  # whatever it is, callers must hear of it instead of waiting for ever
                self._error = error
        loop = batch[0][1].get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, [done for _, done in batch], self._error)


def _settle(futures: list["asyncio.Future[None]"], error: Exception | None) -> None:
    for done in futures:
        if done.done():  # its caller was cancelled; the write stands
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
