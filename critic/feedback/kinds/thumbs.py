"""Thumbs: one response is good, or it isn't."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field

from critic.feedback.base import FormField, Label, LabelMean, LabelOption, Row, Unit, Way, answer, one_of
from critic.feedback.kinds.rating import RatingLabel, Scale
from critic.records import Response
from critic.statistics.raters import Level


class ThumbsLabel(Label):
    """``value`` up or down, of the response at the position ``response``."""

    kind: ClassVar[str] = "thumbs"
    short: ClassVar[str | None] = "value"
    agreement: ClassVar[tuple[Level, ...]] = ("nominal",)
    two_sided: ClassVar[bool] = True

    value: Literal["up", "down"]
    response: int = Field(default=0, ge=0)

    @classmethod
    def form(cls) -> tuple[FormField, ...]:
        """Ask for one of two."""
        options = (LabelOption(value="up", title="Good"), LabelOption(value="down", title="Bad"))
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

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the response, and whether it is good."""
        judged = responses[self.response]
        yield (
            "ratings",
            {"completion": answer(judged.text), "label": self.value == "up", "model": judged.model},
        )

    def about(self, responses: Sequence[Response]) -> tuple[Hashable, ...]:
        """Return the response's text."""
        return (responses[self.response].text,)

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return what most said, dropped where as many say up as down; or the share of thumbs up, as a rating."""
        up, place = sum(label.value == "up" for label in labels), labels[0].response
        every = range(len(labels))
        if way == "soft":
            return LabelMean(RatingLabel(value=up / len(labels), scale=Scale(min=0, max=1), response=place), every)
        if 2 * up == len(labels):
            return LabelMean(None, dropped=Counter({"tie": len(labels)}))
        return LabelMean(cls(value="up" if 2 * up > len(labels) else "down", response=place), every)

    def unit(self, responses: Sequence[Response]) -> tuple[Unit, float] | None:
        """Return the response, and 1 for up."""
        return responses[self.response].text, float(self.value == "up")
