"""Prompts that come again, and prompts that are held out: decided by what a prompt says, wherever it stands."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from base.digest import unit_interval
from critic.records import Line, Prompt, Quarantined

A = TypeVar("A")


def once(rows: Iterable[Line | Quarantined]) -> Iterator[Line | Quarantined]:
    """Yield ``rows``, and in place of a prompt that has come before the refusal that says where."""
    first: dict[str, Line] = {}
    for row in rows:
        if isinstance(row, Line) and (same := first.setdefault(row.item.prompt.key, row)) is not row:
            detail = f"the same prompt as in row {same.row} ({same.where})"
            yield Quarantined(row=row.row, where=row.where, reason="duplicate", detail=detail)
        else:
            yield row


def hold_out(items: Iterable[A], prompt: Callable[[A], Prompt], share: float, split: str) -> tuple[list[A], list[A]]:
    """Split ``items`` in two, the second with about ``share`` of the prompts: by each prompt's hash, so never mixed.

    ``split`` names the split: two of different names are independent, so that what one has left over can be split
    again.
    """
    sides: tuple[list[A], list[A]] = ([], [])
    for item in items:
        sides[unit_interval(split, prompt(item).key) < share].append(item)
    return sides
