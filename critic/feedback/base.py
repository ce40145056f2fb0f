"""What every kind of feedback shares: its label's base class, the form that a person fills in, and what text may be.

A label is about the responses that it is given with, by their position. See `critic.feedback` for how to add a kind.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from critic.records import Record, Response

Kind = Literal["comparison", "ranking", "rating", "thumbs", "critique", "demonstration", "correction"]
Table = Literal["pairs", "rankings", "ratings", "sft"]
Columns = dict[str, Any]
Row = tuple[Table, Columns]
"""A data set's table, and one row of it in the columns that `trainers.batches.data` reads."""


class Option(Record):
    """One answer that can be picked: what is stored, and what a person reads."""

    value: str | bool
    title: str


class FormField(Record):
    """One question to a person, about one key of the label.

    ``choice`` has ``options``; ``number`` has ``min`` and ``max`` (both included) and what they mean; ``text`` is free
    text; ``ranks`` gives each response a rank, 1 the best; ``spans`` marks places in the responses; ``response`` picks
    one of the responses by its position.
    """

    name: str
    type: Literal["choice", "number", "text", "ranks", "spans", "response"]
    title: str
    required: bool = True
    options: tuple[Option, ...] = ()
    min: float | None = None
    max: float | None = None
    min_means: str = ""
    max_means: str = ""


class Label(Record):
    """What one person or model said of the responses. Each kind is a subclass in a file of its own."""

    kind: ClassVar[Kind]
    fewest_responses: ClassVar[int] = 1
    most_responses: ClassVar[int | None] = None

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Return what a person is asked."""
        raise NotImplementedError  # each kind has its own

    def check(self, responses: Sequence[Response]) -> None:
        """Raise `ValueError` where the label doesn't fit the responses."""
        few, most = self.fewest_responses, self.most_responses
        if len(responses) < few or (most is not None and len(responses) > most):
            expected = f"{few}" if few == most else f"{few} or more" if most is None else f"{few} to {most}"
            raise ValueError(f"a {self.kind} is about {expected} responses; {len(responses)} were given")

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label for the responses in another order: place i shows what was response ``order[i]``."""
        return self

    def rows(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield what trainers can learn from: rows without the prompt, which the envelope adds."""
        raise NotImplementedError  # each kind has its own


def one_of(responses: Sequence[Response], position: int) -> Response:
    """Return the response at ``position``; `ValueError` where there is none."""
    if position >= len(responses):
        raise ValueError(f"there is no response {position}: the {len(responses)} responses count from 0")
    return responses[position]


def distinct(responses: Sequence[Response]) -> None:
    """Raise `ValueError` where two responses have the same text: no preference between them can mean anything."""
    if len({response.text for response in responses}) < len(responses):
        raise ValueError("two of the responses are the same text; equal sides can't be compared")


def answer(text: str) -> list[Columns]:
    """Return a response as the chat messages of a row."""
    return [{"role": "assistant", "content": text}]


def storable(text: str) -> None:
    """Raise `ValueError` for text that a database or file can't hold: NUL, or half of a surrogate pair."""
    if "\0" in text:
        raise ValueError(f"the text holds a NUL character (at {text.index(chr(0))}), which can't be stored; remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the text holds half of a surrogate pair (at {error.start}), which can't be stored as UTF-8; remove it"
            ) from None


def all_storable(record: BaseModel) -> bool:
    """Whether all texts of a record are `storable`, told at once; False also where a text only looks like NUL."""
    try:
        return b"\\u0000" not in record.__pydantic_serializer__.to_json(record, round_trip=True)
    except PydanticSerializationError:  # half of a surrogate pair
        return False


def texts(value: object) -> Iterator[str]:
    """Yield every string in a record, however deep, in no order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, BaseModel):
            waiting += one.__dict__.values()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
