"""Long work: lanes of threads of its own, so that it keeps nothing else waiting, with an end to each.

A thread can't be ended from outside. So long work looks now and then whether anybody still waits for it: `Stop.check`,
once a row or so. Where its client went away, or it took too long, it ends there, and work that had not begun never
does. What would wait behind too many others is refused at once. Where the event loop is behind with what it owes to all
others, work pauses at such a look.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self, TypeVar

from service.bounds.behind import Behind
from service.bounds.watching import WaitingClient, while_connected
from service.refusals import Busy

T = TypeVar("T")

SWITCH_SECONDS = 0.00005
"""How long a thread with long work may keep the event loop waiting, at each of its many calls of the system."""


LATE_SECONDS = 0.003  # by which the event loop is behind: a turn that stores labels takes about as long
SLICE_SECONDS = 0.002  # of processor time that work has taken before it pauses
PAUSES = 4  # as long as it worked: it has a fifth of the interpreter where the event loop could use all


class Stopped(Exception):
    """Nobody waits for the work any more."""


class Stop:
    """What long work looks at. The time runs from when it begins, not while it waits for its turn.

    ``behind`` is of the event loop that it gives way to.
    """

    def __init__(self, seconds: float, behind: Behind | None = None) -> None:
        self._seconds, self._end = seconds, float("inf")
        self._behind = behind or Behind()
        self._worked: float | None = None  # this thread's processor time when it had to give way, or had last done so
        self._set = threading.Event()
        self._ends: list[Callable[[], object]] = []

    def begin(self) -> None:
        """The work begins now."""
        self._end = time.monotonic() + self._seconds

    def set(self) -> None:
        """Nobody waits for it any more."""
        self._set.set()
        for end in self._ends:
            end()

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Within it ``end`` is called when nobody waits any more: it ends what can't look, and returns at once."""
        self._ends.append(end)
        try:
            yield
        finally:
            self._ends.remove(end)

    @property
    def is_over(self) -> bool:
        """Whether the work is to end."""
        return self._set.is_set() or time.monotonic() > self._end

    @property
    def left(self) -> float:
        """The seconds that the work has left, at least a thousandth."""
        return max(0.001, min(self._seconds, self._end - time.monotonic()))

    def check(self) -> None:
        """Pause where others need it. Raise `Stopped` where nobody waits any more, `Busy` where it took too long."""
        self._give_way()
        if self._set.is_set():
            raise Stopped
        if time.monotonic() > self._end:
            raise Busy(
                f"this took over {self._seconds:g} s and was given up",
                "Ask for less, or export the labels (`cai feedback export`) and compute it where they are.",
                slug="took_too_long",
            )

    def _give_way(self) -> None:
        if self._behind.seconds < LATE_SECONDS:
            self._worked = None
            return
        if self._worked is None:
            self._worked = time.thread_time()
        worked = time.thread_time() - self._worked
        if worked >= SLICE_SECONDS:
            self._set.wait(PAUSES * worked)
            self._worked = time.thread_time()

    def watched(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield ``rows``, with a look before each."""
        for row in rows:
            self.check()
            yield row


class _GivingWay:
    """Within it threads give way after `SWITCH_SECONDS`; when the last one is left, as before the first."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._working, self._before = 0, 0.0

    def __enter__(self) -> None:
        with self._turn:
            if self._working == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            self._working += 1

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._working -= 1
            if self._working == 0:
                sys.setswitchinterval(self._before)


_giving_way = _GivingWay()


class Lane:
    """So many threads for one kind of work, and so many places for those who wait."""

    def __init__(self, name: str, at_once: int, waiting: int, seconds: float) -> None:
        self._name, self._places, self._seconds = name, at_once + waiting, seconds
        self._pool = ThreadPoolExecutor(at_once, name)
        self._under_way: set[Stop] = set()
        self._behind = Behind()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for stop in self._under_way:
            stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, client: WaitingClient | None, do: Callable[[Stop], T]) -> T:
        """Return what ``do`` returns. Raises `Busy` where too many wait, or it takes too long.

        Where there is a client and it goes away, the work ends: 408, which nobody reads.
        """
        if len(self._under_way) >= self._places:
            raise Busy(f"{len(self._under_way)} others wait for {self._name} already")
        stop = Stop(self._seconds, self._behind)
        self._under_way.add(stop)
        try:
            with self._behind:
                work = self._done(do, stop)
                return await (work if client is None else while_connected(client, work))
        finally:
            self._under_way.discard(stop)

    async def _done(self, do: Callable[[Stop], T], stop: Stop) -> T:
        def work() -> T:
            stop.begin()
            stop.check()
            with _giving_way:
                return do(stop)

        future: Future[T] = self._pool.submit(work)
        waited = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waited)
        except asyncio.CancelledError:
            stop.set()
            # Its place and its files are free when it has ended, and not while it only should.
            if not future.cancel():
                await asyncio.wait({waited})
                waited.exception()
            raise
