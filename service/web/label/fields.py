"""A form's fields, and the buttons that a task's page offers."""

from collections.abc import Sequence
from dataclasses import dataclass

KEYS = "1234567890qwetyiop"  # of choices, from the left; u, r and other letters do something else
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class ChoiceButton:
    """One of several buttons: what is sent, what it says, the key that does it, and whether it was chosen before."""

    value: str
    text: str
    key: str = ""
    tone: str = ""
    chosen: bool = False


def with_keys(made: Sequence[tuple[str, str]], chosen: str) -> list[ChoiceButton]:
    """Give each choice, a value and a text, its key."""
    keys = [*KEYS, *[""] * len(made)]
    return [
        ChoiceButton(value, text, keys[place], value.split(".")[0], value == chosen)
        for place, (value, text) in enumerate(made)
    ]


def number(value: float | None) -> str:
    """A number as people write it: 4, not 4.0."""
    return "" if value is None else f"{value:g}"


def letters(count: int) -> list[str]:
    """Names of answers on the page: A, B, ... and numbers where letters end."""
    return [LETTERS[place] if place < len(LETTERS) else str(place + 1) for place in range(count)]


Fields = Sequence[tuple[str, str]]
"""A form as it was sent or kept: names and values, in order."""


def one(fields: Fields, name: str, instead: str = "") -> str:
    """A field's first value."""
    return next((value for key, value in fields if key == name), instead)


def several(fields: Fields, name: str) -> list[str]:
    """All values of a field."""
    return [value for key, value in fields if key == name]


def after(fields: Fields, prefix: str) -> dict[str, str]:
    """The fields whose names begin so, by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in fields if key.startswith(prefix)}
