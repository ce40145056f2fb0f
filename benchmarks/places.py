"""Where the items of a simulation spend time: a queue serves one after the other, a batch all of them together.

Both tell when the next item ends, if nothing changes, and are advanced to that moment or an earlier one. ``share`` is
the part of the machine that the place has.
"""

import math
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Queue(Generic[T]):
    """Items that are served one after the other, each for so many seconds."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, float]] = deque()
        self._done = 0.0  # of the first

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, seconds: float) -> None:
        """Put an item at the end."""
        self._items.append((item, seconds))

    def pop(self) -> T:
        """Take out the one that ends next."""
        self._done = 0.0
        return self._items.popleft()[0]

    def seconds(self, share: float) -> float:
        """How long until the next of them ends, with this share of the machine."""
        return max(0.0, self._items[0][1] - self._done) / share if self._items and share else math.inf

    def advance(self, seconds: float, share: float) -> None:
        """Let time pass, not beyond the next end."""
        self._done += seconds * share if self._items else 0.0


class Convoy(Generic[T]):
    """Items that go forward together: a step of all takes ``fixed`` seconds, and ``each`` more for each of them."""

    def __init__(self, fixed: float, each: float) -> None:
        self._fixed, self._each = fixed, each
        self._items: list[tuple[float, int, T]] = []  # a heap, by the step of the end
        self._order = count()  # of those that end at the same step
        self.steps = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, steps: float) -> None:
        """Put an item among the others, for so many steps."""
        heappush(self._items, (self.steps + steps, next(self._order), item))

    def pop(self) -> T:
        """Take out the one that ends next."""
        return heappop(self._items)[2]

    def seconds(self, share: float) -> float:
        """How long until the next of them ends, with this share of the machine."""
        if not self._items or not share:
            return math.inf
        return max(0.0, self._items[0][0] - self.steps) * self._step() / share

    def advance(self, seconds: float, share: float) -> None:
        """Let time pass, not beyond the next end."""
        if self._items and seconds * share:  # a step that takes no time never comes with a time that passes
            self.steps += seconds * share / self._step()

    def _step(self) -> float:
        return self._fixed + self._each * len(self._items)
