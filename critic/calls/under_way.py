"""Which calls are under way, for whom is waited, and which engine is slowest: what a run shows of its engines.

A call waits in this process first, for a rate or for a place among those that a server takes at once. That is no time
of the server's, so who makes it wait says so (`queued`), and says when it is really asked (`sent`).
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

# How far back the slowest engine is looked for, in seconds, and how many calls of each are kept for that.
LATELY = 60.0
_CALLS_KEPT = 1000


@dataclass(slots=True, eq=False)
class Call:
    """One call of an engine: since when it has been asked, or None while it waits in this process."""

    engine: str
    clock: Callable[[], float]
    since: float | None


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def queued() -> None:
    """Say that the call which is being made waits in this process."""
    if (call := _current.get()) is not None:
        call.since = None


def sent() -> None:
    """Say that it is asked now."""
    if (call := _current.get()) is not None:
        call.since = call.clock()


@dataclass
class CallsUnderWay:
    """The calls of a run that are under way, and for each engine when its last calls ended and how long they took."""

    clock: Callable[[], float] = time.monotonic
    calls: set[Call] = field(default_factory=set)
    took: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)

    @contextmanager
    def call(self, engine: str) -> Iterator[None]:
        """Make a call. One that fails says nothing of how long answers take."""
        call = Call(engine, self.clock, self.clock())
        token = _current.set(call)
        self.calls.add(call)
        try:
            yield
            if call.since is not None:
                now = self.clock()
                self.took.setdefault(engine, deque(maxlen=_CALLS_KEPT)).append((now, now - call.since))
        finally:
            self.calls.discard(call)
            _current.reset(token)

    def told(self) -> str:
        """Say who is slowest, how many calls are asked and queued, and whom the oldest waits for; nothing of nothing.

        As in ``slowest: openai:m, 4 s an answer; 3 asked, the oldest since 2 s; 8 queued``.
        """
        slowest, seconds = self._slowest()
        parts = [f"slowest: {slowest}, {seconds:.2g} s an answer"] if slowest else []
        asked = [(call.since, call.engine) for call in self.calls if call.since is not None]
        if asked:
            since, engine = min(asked)
            who = "" if engine == slowest else f" of {engine}"
            parts.append(f"{len(asked):,} asked, the oldest{who} since {self.clock() - since:.0f} s")
        if len(self.calls) > len(asked):
            parts.append(f"{len(self.calls) - len(asked):,} queued")
        return "; ".join(parts)

    def _slowest(self) -> tuple[str, float]:
        """Return whose answers took longest on average over the last minute, and how long; no name before an answer."""
        oldest = self.clock() - LATELY
        means: dict[str, float] = {}
        for engine, calls in self.took.items():
            lately = [seconds for ended, seconds in calls if ended > oldest]
            if lately:
                means[engine] = math.fsum(lately) / len(lately)
        return max(means.items(), key=lambda named: named[1], default=("", 0.0))
