"""What every kind of feedback shares: its label's base class, the form that a person fills in, and what text may be.

A label is about the responses that it is given with, by their position. See `critic.feedback` for how to add a kind.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field
from pydantic_core import PydanticSerializationError

from critic.records import Record, Response
from critic.rows import RowError
from critic.statistics.raters import Level

Table = Literal["pairs", "rankings", "ratings", "sft"]
Columns = dict[str, Any]
Row = tuple[Table, Columns]
"""A data set's table, and one row of it in the columns that `trainers.batches.data` reads."""

Unit = Hashable
"""What several raters can say something of, within one item: a response, a pair of them, the item as a whole."""

Way = Literal["majority", "soft"]
"""How several labels of one item become one: see `critic.feedback.aggregate`."""

MOST_PRINCIPLES = 500  # that one label speaks of: a constitution of more has never been seen
YesNo = Annotated[bool, Field(strict=True)]
"""Of options that two kinds share: a type is the same in both where it is one object."""
PrincipleId = Annotated[str, Field(min_length=1, max_length=200)]


class LabelOption(Record):
    """One answer that can be picked: what is stored, and what a person reads."""

    value: str | bool
    title: str


class FormField(Record):
    """One question to a person, about one key of the label.

    ``choice`` has ``options``; ``number`` has ``min`` and ``max`` (both included) and what they mean; ``text`` is free
    text; ``ranks`` gives each response a rank, 1 the best; ``spans`` marks places in the responses; ``response`` picks
    one of the responses by its position. ``by_principle`` asks the same for each principle of the constitution, by
    ``options`` or a number from ``min`` to ``max``; ``principles`` picks some of them.
    """

    name: str
    type: Literal["choice", "number", "text", "ranks", "spans", "response", "by_principle", "principles"]
    title: str
    required: bool = True
    options: tuple[LabelOption, ...] = ()
    min: float | None = None
    max: float | None = None
    min_means: str = ""
    max_means: str = ""


Form = Mapping[str, FormField]
"""A project's questions, by their names."""


class ProjectOptions(Record):
    """What a project may say of how labels of a kind are asked for.

    Each field is one of the request that makes a project, of the same name and type in all kinds that have it, and
    None where the project says nothing. They are handed to `Label.form`.
    """

    @property
    def needs_constitution(self) -> bool:
        """Whether people are asked about principles, which only a constitution has."""
        return False


@dataclass(frozen=True, slots=True)
class LabelMean:
    """What several labels of one item say together.

    ``label`` stands for the labels at the positions ``of``; it is None where they say nothing together. ``dropped``
    counts the labels that give no row, by reason.
    """

    label: "Label | None"
    of: Sequence[int] = ()
    dropped: Counter[str] = field(default_factory=Counter)


class Label(Record):
    """What one person or model said of the responses. Each kind is a subclass in a file of its own.

    ``short`` names the key that may stand alone, as a text or a list. ``distinct_responses`` says that equal responses
    can't be labelled. ``agreement`` is as what values are compared (`critic.statistics.raters`); kinds in words have
    none. ``pairwise`` says that the units of agreement are pairs of responses (`relation`), else a label is about one
    unit (`unit`). ``two_sided`` says that such a label takes one of two sides, or neither: 1, 0 or 0.5. ``beside``
    names the fields in which two labels may differ and yet be the same (`critic.feedback.same`).
    """

    kind: ClassVar[str]
    short: ClassVar[str | None] = None
    fewest_responses: ClassVar[int] = 1
    most_responses: ClassVar[int | None] = None
    distinct_responses: ClassVar[bool] = False
    agreement: ClassVar[tuple[Level, ...]] = ()
    pairwise: ClassVar[bool] = False
    two_sided: ClassVar[bool] = False
    beside: ClassVar[frozenset[str]] = frozenset()
    options: ClassVar[type[ProjectOptions]] = ProjectOptions

    @classmethod
    def form(cls, *args: Any, **options: Any) -> tuple[FormField, ...]:
        """Return what a person is asked, with a project's ``options`` for it."""
        raise NotImplementedError  # each kind has its own

    @classmethod
    def long_form(cls, given: Any) -> Any:
        """Return the label that ``given`` means, which may be short; what is malformed is left for others to refuse."""
        return {cls.short: given} if cls.short is not None and isinstance(given, str | list) else given

    @classmethod
    def complete(cls, given: Any, form: Form) -> Any:
        """Return the long form of an answer to ``form``, with what the project says for all of its labels."""
        return cls.long_form(given)

    def fits_form(self, form: Form) -> None:
        """Raise `InputError` where this answers another question than ``form`` asks."""

    def check(self, responses: Sequence[Response]) -> None:
        """Raise `ValueError` where the label doesn't fit the responses."""
        self.fits(responses)

    @classmethod
    def fits(cls, responses: Sequence[Response]) -> None:
        """Raise `ValueError` where no label of this kind can be about ``responses``."""
        few, most = cls.fewest_responses, cls.most_responses
        if len(responses) < few or (most is not None and len(responses) > most):
            if few == most:
                expected = f"{few}"
            elif most is None:
                expected = f"{few} or more"
            else:
                expected = f"{few} to {most}"
            raise ValueError(f"a {cls.kind} is about {expected} responses; {len(responses)} were given")
        if cls.distinct_responses:
            distinct(responses)

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label for the responses in another order: place i shows what was response ``order[i]``."""
        return self

    def principles(self) -> Sequence[str]:
        """Return the ids of the principles that the label speaks of by itself, each once."""
        return ()

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield what trainers can learn from: rows without the prompt, which the envelope adds.

        Where ``ties`` asks for it, that neither of two is better is a row, too.
        """
        raise NotImplementedError  # each kind has its own

    def why_no_row(self) -> str:
        """Return the reason why a label gives trainers nothing, as reports count it."""
        return self.kind

    def about(self, responses: Sequence[Response]) -> tuple[Hashable, ...]:
        """Return what several labels of one item must share to have a mean."""
        return ()

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return what labels of one item say together; None for a kind that has no mean: each is a row of its own.

        They are for the responses in one order, and share what they are `about`.
        """
        return None

    def unit(self, responses: Sequence[Response]) -> tuple[Unit, float] | None:
        """Return the one unit that this is about, and its value; None where it says no value."""
        return None

    def units_by_principle(self, responses: Sequence[Response]) -> Mapping[str, tuple[Unit, float]]:
        """Return the same of each principle that the label speaks of, by its id."""
        return {}

    def relation(self, first: int, second: int) -> float | None:
        """Return 1 where the first of two responses is above the second, 0 where below, and a half where equal.

        None where this says nothing of one of them. Asked of kinds that are ``pairwise``.
        """
        return None

    @property
    def unsure(self) -> bool:
        """Whether whoever was asked says that they can't tell."""
        return False

    @property
    def prefers(self) -> int | None:
        """The position of the one response of two that is better; None where none is, or the kind compares no two."""
        return None

    def said(self) -> Columns:
        """Return what makes two labels the same, in the order of the responses that they are turned to."""
        return self.model_dump(mode="json", exclude=set(self.beside))

    @classmethod
    def exported(cls, columns: Columns, texts: Sequence[Any]) -> tuple[Columns, Sequence[Any]]:
        """Return the label of a row of a run's ``feedback`` export, and the responses that it is about.

        Raises `critic.rows.RowError`.
        """
        raise RowError("no_label", f"a {cls.kind} has its label in the column label")


def expect_list(columns: Mapping[str, Any], name: str) -> list[Any]:
    """Return a column that must hold a list. Raises `RowError`."""
    value = columns.get(name)
    if not isinstance(value, list):
        raise RowError("unknown_format", f"{name} is not a list; the row has {', '.join(sorted(columns)) or 'nothing'}")
    return value


def expect_text(columns: Mapping[str, Any], name: str) -> str:
    """Return a column that must hold a text. Raises `RowError`."""
    value = columns.get(name)
    if not isinstance(value, str):
        raise RowError("unknown_format", f"{name} is not a text; the row has {', '.join(sorted(columns)) or 'nothing'}")
    return value


def one_of(responses: Sequence[Response], position: int) -> Response:
    """Return the response at ``position``; `ValueError` where there is none."""
    if position >= len(responses):
        raise ValueError(f"there is no response {position}: the {len(responses)} responses count from 0")
    return responses[position]


def distinct(responses: Sequence[Response]) -> None:
    """Raise `ValueError` where two responses have the same text: no preference between them can mean anything."""
    if len({response.text for response in responses}) < len(responses):
        raise ValueError("two of the responses are the same text; equal sides can't be compared")


def by_principle(name: str, said: Mapping[str, Any]) -> Columns:
    """Return the column that says what was answered for each principle, as ``name``; none where nothing was."""
    return {"by_principle": [{"principle": id, name: value} for id, value in said.items()]} if said else {}


def answer(text: str) -> list[Columns]:
    """Return a response as the chat messages of a row."""
    return [{"role": "assistant", "content": text}]


def not_given(value: object) -> bool:
    """Whether a field of a label holds nothing: such fields are not written, and old readers know none of them."""
    return value in (None, (), {})


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
