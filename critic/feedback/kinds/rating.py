"""A rating: how good one response is, on a scale that is stated with it."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from critic.feedback.base import FormField, Kind, Label, Row, answer, one_of
from critic.records import Record, Response


class Scale(Record):
    """The lowest and highest values, and what they mean."""

    min: float
    max: float
    min_means: str = ""
    max_means: str = ""

    @model_validator(mode="after")
    def _ends_differ(self) -> Self:
        if not self.min < self.max:
            raise ValueError(f"a scale goes up; this one goes from {self.min:g} to {self.max:g}")
        return self


FIVE = Scale(min=1, max=5, min_means="very bad", max_means="very good")


class RatingLabel(Label):
    """``value`` of the response at the position ``response``, on ``scale``."""

    kind: ClassVar[Kind] = "rating"

    value: float
    scale: Scale
    response: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _on_its_scale(self) -> Self:
        if not self.scale.min <= self.value <= self.scale.max:
            raise ValueError(f"a rating of {self.value:g} is off its scale, {self.scale.min:g} to {self.scale.max:g}")
        return self

    @classmethod
    def form(cls, scale: Scale = FIVE) -> tuple[FormField, ...]:
        """Ask for one number on ``scale``."""
        return (
            FormField(name="response", type="response", title="Which response?", required=False),
            FormField(name="value", type="number", title="How good is the response?", **scale.model_dump()),
        )

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label of the same response, wherever that is now."""
        return self.model_copy(update={"response": order.index(self.response)})

    def check(self, responses: Sequence[Response]) -> None:
        """The rated response is one of them."""
        super().check(responses)
        one_of(responses, self.response)

    def rows(self, responses: Sequence[Response]) -> Iterator[Row]:
        """Yield the response with its rating."""
        rated = responses[self.response]
        yield (
            "ratings",
            {
                "completion": answer(rated.text),
                "rating": self.value,
                "scale": [self.scale.min, self.scale.max],
                "model": rated.model,
            },
        )
