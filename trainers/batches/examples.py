"""What trainers learn from: a prompt, its answers, and what is known of them. Illegal examples can't be built."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from critic.messages import is_blank
from critic.records import Prompt, Record
from critic.rows import RowError

T = TypeVar("T")
_ANSWERS = ("completion", "response", "output", "answer")


class _Example(Record):
    """``weight`` multiplies the example's loss; ``group`` says whose preference it is; ``where`` names it to people."""

    prompt: Prompt
    weight: float = Field(default=1.0, gt=0)
    group: str | None = None
    where: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """The texts that follow the prompt, in the order that the label refers to."""
        raise NotImplementedError  # each kind has its own

    @model_validator(mode="after")
    def _answers_say_something(self) -> Self:
        if any(is_blank(answer) for answer in self.answers):
            raise ValueError("an answer is empty")
        return self


class Demonstration(_Example):
    """An answer to imitate."""

    answer: str

    @property
    def answers(self) -> tuple[str, ...]:
        """The one answer."""
        return (self.answer,)


class Pair(_Example):
    """Two answers; ``probability`` that the chosen one is better: 0.5 is a tie, and less speaks for the rejected one.

    ``margin`` is how far apart the two rewards should at least be, in log-odds.
    """

    chosen: str
    rejected: str
    probability: float = Field(default=1.0, ge=0, le=1)
    margin: float = 0.0

    @property
    def answers(self) -> tuple[str, ...]:
        """Chosen, rejected."""
        return (self.chosen, self.rejected)

    @model_validator(mode="after")
    def _sides_differ(self) -> Self:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        return self


class Ranked(_Example):
    """Two or more answers in order: ``ranks`` has 1 for the best; equal ranks are ties."""

    texts: tuple[str, ...] = Field(min_length=2)
    ranks: tuple[int, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """All answers, in the order of ``ranks``."""
        return self.texts

    @model_validator(mode="after")
    def _one_rank_each(self) -> Self:
        if len(self.ranks) != len(self.texts):
            raise ValueError(f"there are {len(self.texts)} answers and {len(self.ranks)} ranks")
        return self


class Rated(_Example):
    """One answer and how good it was found by itself, 0 to 1: thumbs are 0 or 1, ratings are scaled to lie between."""

    answer: str
    value: float = Field(ge=0, le=1)

    @property
    def answers(self) -> tuple[str, ...]:
        """The one answer."""
        return (self.answer,)


Example = Demonstration | Pair | Ranked | Rated

KINDS: dict[type[Example], str] = {
    Demonstration: "demonstrations (prompt, completion; or messages)",
    Pair: "pairs (prompt, chosen, rejected)",
    Ranked: "rankings (prompt, responses, ranks)",
    Rated: "rated answers (prompt, completion, and label or rating)",
}

NAMES: dict[str, type[Example]] = {"demonstrations": Demonstration, "pairs": Pair, "rankings": Ranked, "ratings": Rated}
"""What methods call the kinds of rows that they take."""


def kinds(types: Sequence[type[Example]]) -> str:
    """Say which kinds of examples ``types`` are."""
    return ", ".join(KINDS[kind] for kind in types)


def refuse_null(columns: Mapping[str, Any]) -> None:
    """Raise `RowError` where what would make a row one that is known is there, and null."""
    if "responses" in columns and "ranks" in columns:
        raise RowError("no_label", "ranks holds nothing; expected a list with the rank of each response")
    if empty := next((name for name in _ANSWERS if name in columns and columns[name] is None), None):
        raise RowError("empty_answer", f"{empty} holds nothing; expected an answer")


def with_all_labels(made: T, given: Mapping[str, Any]) -> T:
    """Return what was made of a row. Raises `RowError` where one of its several answers lacks a label."""
    ratings = given.get("ratings")
    if isinstance(ratings, list) and len(ratings) > 1 and None in ratings:
        raise RowError("no_label", f"{ratings.count(None)} of {len(ratings)} answers have no label")
    return made


def slug_of(error: ValidationError) -> str:
    """Return a short reason that reports can count."""
    first = error.errors(include_url=False)[0]
    if first["loc"]:
        return f"bad_{first['loc'][0]}"
    message = first["msg"]
    known = {
        "last user": "empty_prompt",
        "answer is empty": "empty_answer",
        "same text": "equal_sides",
        "roles": "role_order",
        "ranks": "bad_ranks",
    }
    return next((slug for words, slug in known.items() if words in message), "bad_row")
