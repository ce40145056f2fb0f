"""Kinds of requests take turns: so many of each kind are worked on at once, and the others of that kind wait in order.

One event loop serves all, and what is ready runs in the order in which it became so. With a bound for each kind a round
of the loop is short, however many clients of one kind there are, and each kind has its part of every round. The bounds
hold work, not connections: who waits has sent its body, and who is slow to read the answer holds nothing.
"""

import asyncio
from dataclasses import dataclass, field

LABELS = 64  # they are committed together: fewer would make smaller groups
JUDGED = 64  # a round of them takes some 0.2 s; engines have slots of their own
PAGES = 2  # each takes a core for some milliseconds


@dataclass(frozen=True, slots=True)
class Turns:
    """One server's: ``labels`` to be stored, what engines ``judged``, and ``pages`` of labels."""

    labels: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LABELS))
    judged: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JUDGED))
    pages: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PAGES))
