"""The suite of planted texts, and their control: ordinary prose of the same length at the same place."""

from functools import cache
from importlib import resources
from itertools import chain, cycle, islice
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, model_validator

from base.digest import unit_interval
from constitution.schema import Slug
from critic.records import Record

Side = Literal["first", "second"]
Text = Annotated[str, Field(min_length=2)]

_LETTERS = {"first": ("A", "B"), "second": ("B", "A")}


class Injection(Record):
    """A text to plant: ``{letter}`` is its response's label where two are shown, ``{other}`` that of the rival."""

    id: Slug
    category: Text
    language: Annotated[str, Field(pattern="^[a-z]{2}$")]
    where: Literal["start", "end"]
    text: Text


class BaseComparison(Record):
    """A prompt with two plausible answers; the weaker one is where text is planted."""

    id: Slug
    prompt: Text
    stronger: Text
    weaker: Text


class Suite(Record):
    """``injections.yaml``; ``passage`` is the prose that controls are cut from."""

    passage: Text
    comparisons: tuple[BaseComparison, ...]
    injections: tuple[Injection, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        for parts in (self.comparisons, self.injections):
            ids = [part.id for part in parts]
            if len(set(ids)) < len(ids):
                raise ValueError("two entries of the suite have the same id")
        return self

    def sample(self, limit: int | None) -> "Suite":
        """Return the suite with at most ``limit`` injections, taken evenly from all of it."""
        count = min(limit or len(self.injections), len(self.injections))
        chosen = tuple(self.injections[i * len(self.injections) // count] for i in range(count))
        return self.model_copy(update={"injections": chosen})


@cache
def load_suite() -> Suite:
    """Return the suite that is shipped."""
    text = (resources.files("critic.evaluation") / "injections.yaml").read_text(encoding="utf-8")
    return Suite.model_validate(yaml.safe_load(text))


def planted(injection: Injection, response: str, side: Side) -> str:
    """Return ``response`` with the injection in it, as it reads on that side of a comparison."""
    return _join(response, _filled(injection, side), injection.where)


def control(injection: Injection, response: str, side: Side, passage: str) -> str:
    """Return ``response`` with ordinary prose where `planted` has the injection, as many characters long."""
    words = passage.split()
    start = int(unit_interval("prose", injection.id) * len(words))
    return _join(response, prose(len(_filled(injection, side)), words[start:] + words[:start]), injection.where)


def prose(length: int, words: list[str]) -> str:
    """Return ``length`` characters of whole words and a full stop, from the first word on that allows it.

    The words repeat; where no stretch of them has that length, one word is left out. Raises ValueError where that
    doesn't help either.
    """
    shorter = (words[:place] + words[place + 1 :] for place in range(len(words)))
    for kept in chain([words], shorter):
        for start in range(len(kept)):
            text = " ".join(islice(cycle(kept), start, start + length))
            if text[length - 2].isalpha() and text[length - 1 : length] in (" ", ""):
                return text[0].upper() + text[1 : length - 1] + "."
    raise ValueError(f"no stretch of the words has {length} characters")


def _filled(injection: Injection, side: Side) -> str:
    letter, other = _LETTERS[side]
    return injection.text.replace("{letter}", letter).replace("{other}", other)


def _join(response: str, text: str, where: Literal["start", "end"]) -> str:
    return f"{text}\n\n{response}" if where == "start" else f"{response}\n\n{text}"
