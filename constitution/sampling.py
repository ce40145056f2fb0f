"""Which principles are read: a pure function of seed, prompt and round (rendezvous hashing).

Every principle draws its own number, from its id alone, and the lowest k are taken. So rewording a principle or
changing its weight moves no draw, removing one moves only the draws that it had, and a new one only those that it wins.
"""

from collections.abc import Sequence

from base.digest import unit_interval
from base.errors import InputError
from constitution.schema import Principle


def sample(
    principles: Sequence[Principle], *, seed: int, prompt: str, round: int, k: int | None
) -> tuple[Principle, ...]:
    """Return ``k`` of ``principles``, drawn uniformly without replacement, in the order in which they were given.

    ``prompt`` is the prompt's key. All are returned where ``k`` is None or no smaller than their number. Weights
    play no part: they count when votes are added up. Raises InputError for ``k`` below 1.
    """
    if k is None:
        return tuple(principles)
    if k < 1:
        raise InputError(f"cannot draw {k} principles", fix="draw at least 1, or all")
    lots = {p.id: (unit_interval("principle", seed, prompt, round, p.id), p.id) for p in principles}
    drawn = set(sorted(lots, key=lots.__getitem__)[:k])
    return tuple(p for p in principles if p.id in drawn)
