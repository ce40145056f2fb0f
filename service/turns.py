"""Kinds of requests take turns: so many of each kind are worked on at once, and the others of that kind wait in order.

One event loop serves all, and what is ready runs in the order in which it became so. With a bound for each kind a round
of the loop is short, however many clients of one kind there are, and each kind has its part of every round. The bounds
hold work, not connections: who waits has sent its body, and who is slow to read the answer holds nothing.
"""

import asyncio
from dataclasses import dataclass, field


def _at_once(number: int) -> asyncio.Semaphore:
    return field(default_factory=lambda: asyncio.Semaphore(number))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Turns:
    """One server's: ``labels`` to be stored, what engines ``judged``, and ``pages`` of labels."""

    labels: asyncio.Semaphore = _at_once(64)  # they are committed together: fewer would make smaller groups
    judged: asyncio.Semaphore = _at_once(64)  # as many as clients usually are; an engine has slots of its own
    pages: asyncio.Semaphore = _at_once(2)  # each takes a core of the database's for some milliseconds
