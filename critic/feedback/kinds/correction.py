"""A correction: one response, edited."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from critic.feedback.base import Columns, FormField, Label, LabelOption, Row, answer, one_of
from critic.records import Response
from critic.rows import RowError


class CorrectionLabel(Label):
    """``text`` is the response at the position ``response`` after editing.

    ``better`` says that whoever edited it prefers the new text, which makes a pair of the two. A model's revision is
    not better by being one: it is judged.
    """

    kind: ClassVar[str] = "correction"
    short: ClassVar[str | None] = "text"

    text: str
    response: int = Field(default=0, ge=0)
    better: bool = True

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text.strip():
            raise ValueError("the correction is empty")
        return self

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for the edited text, and whether it is better now."""
        options = (LabelOption(value=True, title="Yes"), LabelOption(value=False, title="Not necessarily"))
        return (
            FormField(name="response", type="response", title="Which response?", required=False),
            FormField(name="text", type="text", title="Edit the response"),
            FormField(name="better", type="choice", title="Is it better now?", required=False, options=options),
        )

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label of the same response, wherever that is now."""
        return self.model_copy(update={"response": order.index(self.response)})

    def check(self, responses: Sequence[Response]) -> None:
        """The edited response is one of them, and was changed."""
        super().check(responses)
        if one_of(responses, self.response).text == self.text:
            raise ValueError("the correction is the same text as the response; nothing was edited")

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the edited text to imitate, and the pair of it and the response it replaces."""
        yield "sft", {"completion": answer(self.text)}
        if self.better:
            before = responses[self.response]
            yield (
                "pairs",
                {
                    "chosen": answer(self.text),
                    "rejected": answer(before.text),
                    "probability": 1.0,
                    "chosen_model": "edited",
                    "rejected_model": before.model,
                },
            )

    @classmethod
    def exported(cls, columns: Columns, texts: Sequence[Any]) -> tuple[Columns, Sequence[Any]]:
        """Return the edited text; a run has the response before and after."""
        if len(texts) != 2:
            raise RowError("bad_responses", f"{len(texts)} responses; a correction has one before and one after")
        return {"text": texts[1], "better": False}, texts[:1]
