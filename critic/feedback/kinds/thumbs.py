"""Thumbs: one response is good, or it isn't."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field

from critic.feedback.base import FormField, Kind, Label, Option, Row, answer, one_of
from critic.records import Response


class ThumbsLabel(Label):
    """``value`` up or down, of the response at the position ``response``."""

    kind: ClassVar[Kind] = "thumbs"

    value: Literal["up", "down"]
    response: int = Field(default=0, ge=0)

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for one of two."""
        options = (Option(value="up", title="Good"), Option(value="down", title="Bad"))
        return (
            FormField(name="response", type="response", title="Which response?", required=False),
            FormField(name="value", type="choice", title="Is the response good?", options=options),
        )

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label of the same response, wherever that is now."""
        return self.model_copy(update={"response": order.index(self.response)})

    def check(self, responses: Sequence[Response]) -> None:
        """The judged response is one of them."""
        super().check(responses)
        one_of(responses, self.response)

    def rows(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield the response, and whether it is good."""
        judged = responses[self.response]
        yield (
            "ratings",
            {"completion": answer(judged.text), "label": self.value == "up", "model": judged.model},
        )
