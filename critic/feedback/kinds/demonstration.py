"""A demonstration: the answer that the labeller would have given."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from pydantic import model_validator

from critic.feedback.base import FormField, Label, Row, answer
from critic.records import Response


class DemonstrationLabel(Label):
    """An answer to imitate. Responses that were shown beside it are kept, and play no part."""

    kind: ClassVar[str] = "demonstration"
    short: ClassVar[str | None] = "text"
    fewest_responses: ClassVar[int] = 0

    text: str

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text.strip():
            raise ValueError("the demonstration is empty")
        return self

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for the answer."""
        return (FormField(name="text", type="text", title="What is a good answer?"),)

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the answer."""
        yield "sft", {"completion": answer(self.text)}
