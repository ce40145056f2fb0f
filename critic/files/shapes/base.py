"""What a shape is: the columns that it reads, how a row of it is known, and what it says in this project's columns.

Those are ``prompt`` (or ``messages``); ``chosen`` and ``rejected``, with ``probability`` where they tie; ``responses``,
with ``models`` and, as labels, ``ranks`` or ``ratings`` on a ``scale``; ``completion``, with ``label`` or ``rating``.
``aspects`` are ratings of other qualities than the whole: (position of the response, quality, value, scale).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from critic.rows import RowError

Columns = dict[str, Any]
Scale = tuple[float, float]
Aspect = tuple[int, str, float, Scale]

FIVE: Scale = (1.0, 5.0)  # of UltraFeedback's ratings, and of tools that do as it did
_TRUTHS = {"true": 1, "false": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}  # pandas' labels are 1.0, where one is missing
PROMPTS = ("prompt", "messages", "instruction", "question", "text", "input")
NUMBERS = frozenset(("probability", "margin", "weight", "rating"))
# Spreadsheets write 0,5 in much of Europe. 1,250 may be a thousand and more, and is no number.
_DECIMAL_COMMA = re.compile(r"\s*[+-]?(0,\d+|\d+,\d{1,2}|\d+,\d{4,})\s*")


@dataclass(frozen=True, slots=True)
class Shape:
    """``read`` takes a row that ``fits``, and whether labels are asked for, and returns it in this project's columns.

    It raises `RowError` for a row of this shape that can't be read. Labels that nobody asks for are not looked at.
    ``keys`` are columns of which a row of this shape has at least one: most rows have none, and are asked nothing more.
    """

    name: str
    columns: tuple[str, ...]
    fits: Callable[[Columns], bool]
    read: Callable[[Columns, bool], Columns]
    keys: frozenset[str]


def has(columns: Mapping[str, Any], *names: str) -> bool:
    """Whether all these columns hold something."""
    return None not in map(columns.get, names)  # quicker than a comprehension, and asked of each row of millions


def are_texts(value: object) -> bool:
    """Whether a value is a list of texts, one at least."""
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def expect_both_sides(columns: Columns) -> None:
    """Raise `RowError` where one side of a pair is missing or empty, and the other there."""
    sides = [name for name in ("chosen", "rejected") if columns.get(name) is not None]
    if len(sides) == 1:
        (there,) = sides
        other = "rejected" if there == "chosen" else "chosen"
        state = "holds nothing" if other in columns else "is missing"
        raise RowError("one_side", f"{other} {state}, and {there} alone is no pair")


def number(value: object) -> float | None:
    """Return a number that is one, or is written as text; None for anything else, truth values among it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value):
        value = value.replace(",", ".")
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if abs(parsed) < float("inf") else None


def truth(value: str) -> int | str:
    """Return 1 or 0 for a truth value as tables without types write it; another text as it is."""
    return _TRUTHS.get(value.strip().casefold(), value)


def whole(value: object) -> int | None:
    """Return a whole number, also one that a table holds as 1.0; None for anything else."""
    parsed = number(value)
    return int(parsed) if parsed is not None and parsed.is_integer() else None


def preference(sides: tuple[Any, Any], better: int | None) -> Columns:
    """Return two answers as a pair, of which the first (0), the second (1) or neither (None) is better."""
    first, second = sides if better != 1 else (sides[1], sides[0])
    tie = {"probability": 0.5} if better is None else {}
    return {"chosen": first, "rejected": second, **tie}


def with_input(instruction: str, given: object) -> str:
    """Return an instruction with the input that stands beside it; that alone where the instruction says nothing."""
    return f"{instruction}\n\n{given}" if instruction.strip() else str(given)


def no_label(name: str, value: object, expected: str) -> RowError:
    """Return the refusal of a label that is missing, or is none."""
    if value is None:
        return RowError("no_label", f"{name} holds nothing; expected {expected}")
    return RowError("bad_label", f"{name} is {value!r:.40}; expected {expected}")
