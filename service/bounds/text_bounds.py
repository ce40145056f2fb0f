"""How long the texts may be that come in: each text, and all that belongs to one label or item.

A label of 15 MB is no label that a person reads, and a page of 60 of them takes gigabytes to answer. What was stored
before there was a bound is still read: only what comes in is measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from service.refusals import Fault, Invalid

VALUE_BYTES = 64
"""What every value counts beside its text: a million numbers cost memory, too."""
SHOWN = 5  # faults that are named


@dataclass(frozen=True, slots=True)
class TextBounds:
    """The longest ``text`` and the largest ``label``, in bytes of UTF-8."""

    text: int
    label: int

    def faults(self, value: Any, at: str = "") -> list[Fault]:
        """What is too long in plain values or a record, by JSON pointers below ``at``."""
        longest, total = _measured(value)
        if longest <= self.text and total <= self.label:
            return []
        faults: list[Fault] = []
        for pointer, size in _texts(value, at):
            if size > self.text and len(faults) < SHOWN:
                faults.append(Fault(where=pointer, problem=_too_long("the text", size, self.text, "max_text_bytes")))
        if total > self.label:
            faults.append(Fault(where=at, problem=_too_long("all of it", total, self.label, "max_label_bytes")))
        return faults

    def fit(self, body: bytes) -> bool:
        """Whether nothing in this JSON can be too long, however it is parsed: told at once, and of most bodies."""
        return len(body) <= self.text and len(body) + VALUE_BYTES * (values(body) + 1) <= self.label

    @staticmethod
    def size(value: Any) -> int:
        """What a value counts, in bytes."""
        return _measured(value)[1]

    def check(self, value: Any, at: str = "") -> None:
        """Raise `Invalid` where something is too long."""
        refuse(self.faults(value, at))


def values(body: bytes) -> int:
    """How many values a JSON text may hold beside the whole, by the signs before them, wherever these stand."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def refuse(faults: list[Fault]) -> None:
    """Raise `Invalid` where there are any."""
    if faults:
        detail = "; ".join(f"{fault.where or '/'}: {fault.problem}" for fault in faults)
        raise Invalid(detail, "Shorten the texts: nothing is cut silently.", faults=faults, slug="too_long")


def _too_long(what: str, size: int, limit: int, setting: str) -> str:
    return f"{what} has {size:,} bytes; the limit is {limit:,} ({setting})"


def _measured(value: Any) -> tuple[int, int]:
    """The length of the longest text, and of everything."""
    longest = total = 0
    waiting = [value]
    while waiting:
        one = waiting.pop()
        total += VALUE_BYTES
        if isinstance(one, str):
            size = _size(one)
            total += size
            longest = max(longest, size)
        else:
            for name, inner in _inside(one):
                waiting.append(inner)
                if isinstance(name, str):
                    total += _size(name)
    return longest, total


def _texts(value: Any, at: str) -> Iterator[tuple[str, int]]:
    """Every text's JSON pointer and length, as they stand."""
    waiting = [(at, value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, str):
            yield place, _size(one)
        waiting += [(f"{place}/{str(name)[:100]}", inner) for name, inner in reversed(list(_inside(one)))]


def _inside(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)


def _size(text: str) -> int:
    # Half a surrogate pair, which is refused elsewhere, has a length, too.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
