"""Rows a portion at a time, where a portion ends by rows and by bytes: a few rows can be as large as a thousand."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PORTION_BYTES = 16 * 2**20


def portions(
    rows: Iterable[T], most: int, size: Callable[[T], int], most_bytes: int = PORTION_BYTES
) -> Iterator[list[T]]:
    """Yield lists of at most ``most`` rows, each ended by the row that makes it ``most_bytes`` or more."""
    portion: list[T] = []
    taken = 0
    for row in rows:
        portion.append(row)
        taken += size(row)
        if len(portion) == most or taken >= most_bytes:
            yield portion
            portion, taken = [], 0
    if portion:
        yield portion
