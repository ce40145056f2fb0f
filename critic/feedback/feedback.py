"""One piece of feedback: what a person or a model said of some responses, and all that binds it to its origin."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator, model_validator

from base.digest import digest
from critic.feedback.base import Columns, Label, Table, all_storable, not_given, storable, texts
from critic.feedback.kinds import KINDS, AnyLabel, Kind
from critic.messages import is_blank
from critic.records import Prompt, Record, Response

Source = Literal["ai", "human"]

Name = Annotated[str, Field(min_length=1, max_length=200)]

LONGEST_SECONDS = 86_400  # of work on one label: a day. More is a clock that went wrong
LONGEST_NOTE = 2000  # characters

STORABLE: dict[str, bool] = {"storable": True}
"""The context in which feedback is validated whose texts are known to be `storable`: it isn't looked at again."""

Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS)]
Note = Annotated[str, Field(max_length=LONGEST_NOTE)]


class Flag(Record):
    """That someone should look at this, and why, in the words of whoever labelled it."""

    note: Note = ""


class Feedback(Record):
    """One label and its envelope; ``kind`` says what ``label`` is. Labels that don't fit the responses are refused.

    ``annotator`` is the id of a person, or the name of a judge. ``group`` is whose value it speaks for: labels of two
    groups are never averaged unasked. ``constitution`` is ``NAME@VERSION`` and ``constitution_hash`` its digest, where
    the label was given under one; ``principle`` the id of the one that it is about. ``seconds`` is the time that a
    person worked on it, without pauses, as their page measured it; ``flag`` that someone should look at it. ``where``
    is the place in a file, for people.
    """

    kind: Kind
    prompt: Prompt
    responses: tuple[Response, ...] = ()
    label: AnyLabel
    source: Source
    annotator: Name | None = None
    group: Name | None = None
    constitution: Name | None = None
    constitution_hash: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    principle: Name | None = None
    seconds: Seconds | None = Field(default=None, exclude_if=not_given)
    flag: Flag | None = Field(default=None, exclude_if=not_given)
    where: str = ""

    @field_validator("label", mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Label:
        kind = KINDS.get(info.data.get("kind", ""))
        if kind is None:
            raise ValueError("the label can't be read without its kind")
        if isinstance(value, Label) and not isinstance(value, kind):
            raise ValueError(f"this is the label of a {value.kind}, not of a {kind.kind}")
        return kind.model_validate(value)

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        if info.context is not STORABLE and not all_storable(self):
            for text in texts(self):
                storable(text)
        self.label.check(self.responses)
        return self

    @cached_property
    def item(self) -> str:
        """SHA-256 of what the label is about: the prompt, and the responses' texts in whatever order."""
        return digest(["item", self.prompt.key, sorted(response.text for response in self.responses)])

    def in_order_of(self, texts: Sequence[str]) -> Self:
        """Return this with its responses in the order of ``texts``, which are theirs; what the label says stays."""
        places: dict[str, list[int]] = {}
        for place, response in reversed(list(enumerate(self.responses))):
            places.setdefault(response.text, []).append(place)
        order = [places[text].pop() for text in texts]  # of equal texts the first comes first
        responses = tuple(self.responses[i] for i in order)
        return self.model_copy(update={"responses": responses, "label": self.label.reordered(order)})

    def rows(self, *, ties: bool = False) -> Iterator[tuple[Table, Columns]]:
        """Yield (table, row) for each thing that trainers can learn from this, in `trainers.batches.data`'s columns.

        A tie is a pair, too, where ``ties`` asks for it.
        """
        common = {
            "prompt": [message.model_dump() for message in self.prompt.messages],
            "prompt_id": self.prompt.id,
            "tags": list(self.prompt.tags),
            "weight": 1.0,
            "group": self.group,
            "labels": 1,
            **bound([self]),
        }
        for table, columns in self.label.rows(self.responses, ties=ties):
            yield table, common | columns


SHOWS_NOTHING = "it is empty, or shows nothing: it holds spaces alone, or characters without width"


def blank_place(
    prompt: Prompt | None = None, responses: Sequence[Response] = (), label: Label | None = None
) -> str | None:
    """Return where a text stands that shows nothing, as a JSON pointer; None where each says something.

    Who takes a question, answers or a label asks this. Records don't: what was stored before it was asked stays
    readable, and what a run's policy left empty is counted there. Where a label is about one answer, the others play no
    part.
    """
    if prompt is not None and is_blank(prompt.messages[-1].content):
        return "/prompt"
    for place, response in enumerate(responses):
        if _is_about(label, place) and is_blank(response.text):
            return f"/responses/{place}"
    text = getattr(label, "text", None)  # a critique may have none, where a judge found no fault
    return "/label/text" if text and is_blank(text) else None


def _is_about(label: Label | None, place: int) -> bool:
    if label is None:
        return True
    return label.fewest_responses > 0 and getattr(label, "response", place) == place


def bound(labels: Sequence[Feedback]) -> Columns:
    """Return the columns that bind a row to the labels it comes from: who, and under which constitutions."""
    sources = sorted({label.source for label in labels})
    annotators = _distinct(label.annotator for label in labels)
    principles = _distinct(label.principle for label in labels)
    constitutions = _distinct(label.constitution for label in labels)
    return {
        "sources": sources,
        "annotators": annotators,
        "principles": principles,
        "constitutions": constitutions,
        "constitution_hashes": _distinct(label.constitution_hash for label in labels),
        "where": labels[0].where,
    }


def _distinct(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name is not None})
