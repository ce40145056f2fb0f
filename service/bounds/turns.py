"""Kinds of requests take turns: so many of each kind are worked on at once, and the others of that kind wait in order.

One event loop serves all, and what is ready runs in the order in which it became so. With a bound for each kind a round
of the loop is short, however many clients of one kind there are, and each kind has its part of every round: what takes
many rounds, as a comparison does, is not slowed by what takes few. The bounds hold work, not connections: who waits has
sent its body, and who is slow to read the answer holds nothing.
"""

import asyncio
from dataclasses import dataclass, field

from critic.local import processor

LABELS = 24  # they are committed together: more make a label cheaper by a tenth, and a round as much longer
JUDGED = 64  # each needs a dozen rounds, of which it is seldom a part; engines have slots of their own
PAGES = max(1, processor.cores() // 2)  # each takes a core for some milliseconds: half of them


@dataclass(frozen=True, slots=True)
class Turns:
    """One server's: ``labels`` to be stored, ``batches`` of them to be read, what engines ``judged``, and ``pages``.

    One batch is read after the other: it is committed while the next is read. Were they read side by side, all would be
    read at about one time, and nothing would be left to do while they are committed.
    """

    labels: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LABELS))
    batches: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    judged: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(JUDGED))
    pages: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PAGES))
