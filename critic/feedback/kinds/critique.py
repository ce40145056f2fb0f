"""A critique: what is wrong with the responses, in words, with the places it is about."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from critic.feedback.base import Columns, FormField, Label, Row, expect_text, one_of
from critic.records import Record, Response


class Span(Record):
    """Characters ``start`` to ``end`` (not included) of the response at the position ``response``."""

    start: int = Field(ge=0)
    end: int
    response: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"a span ends after it starts; this one goes from {self.start} to {self.end}")
        return self


class CritiqueLabel(Label):
    """Words about the responses. Trainers have no use for them by themselves.

    ``outcome`` is ``nothing_to_revise`` where a judge found no fault, ``unreadable`` where it said nothing, and
    ``no_answer`` where it thought and said nothing.
    """

    kind: ClassVar[str] = "critique"
    short: ClassVar[str | None] = "text"

    text: str
    spans: tuple[Span, ...] = ()
    outcome: Literal["critique", "nothing_to_revise", "unreadable", "no_answer"] = "critique"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.outcome == "critique" and not self.text.strip():
            raise ValueError("the critique is empty")
        return self

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for words, and places where there are any."""
        return (
            FormField(name="text", type="text", title="What could be better?"),
            FormField(name="spans", type="spans", title="Which words is this about?", required=False),
        )

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same words, with the spans in the same responses."""
        place = {response: place for place, response in enumerate(order)}
        spans = tuple(span.model_copy(update={"response": place[span.response]}) for span in self.spans)
        return self.model_copy(update={"spans": spans})

    def check(self, responses: Sequence[Response]) -> None:
        """Every span lies in its response."""
        super().check(responses)
        for span in self.spans:
            length = len(one_of(responses, span.response).text)
            if span.end > length:
                raise ValueError(
                    f"the span {span.start} to {span.end} is outside of response {span.response}, "
                    f"which has {length} characters"
                )

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield nothing."""
        return iter(())

    @classmethod
    def exported(cls, columns: Columns, texts: Sequence[Any]) -> tuple[Columns, Sequence[Any]]:
        """Return the words, and what came of them."""
        return {"text": expect_text(columns, "text"), "outcome": columns.get("outcome")}, texts
