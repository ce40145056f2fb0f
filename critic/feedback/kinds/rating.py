"""A rating: how good one response is, on a scale that is stated with it."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from base.errors import InputError
from critic.feedback.base import (
    MOST_PRINCIPLES,
    Form,
    FormField,
    Label,
    LabelMean,
    PrincipleId,
    ProjectOptions,
    Row,
    Unit,
    Way,
    YesNo,
    answer,
    by_principle,
    not_given,
    one_of,
)
from critic.records import Record, Response
from critic.statistics.raters import Level


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


class RatingOptions(ProjectOptions):
    """How a project asks for ratings: on which ``scale`` (1 to 5 by default), and also by each principle."""

    scale: Scale | None = None
    by_principle: YesNo | None = None

    @property
    def needs_constitution(self) -> bool:
        """Whether people answer by principle."""
        return bool(self.by_principle)


class RatingLabel(Label):
    """``value`` of the response at the position ``response``, on ``scale``.

    ``by_principle`` has what the response gets by one principle each, on the same scale, where that was asked.
    """

    kind: ClassVar[str] = "rating"
    agreement: ClassVar[tuple[Level, ...]] = ("nominal", "ordinal", "interval")
    options: ClassVar[type[ProjectOptions]] = RatingOptions

    value: float
    scale: Scale
    response: int = Field(default=0, ge=0)
    by_principle: dict[PrincipleId, float] = Field(
        default_factory=dict, max_length=MOST_PRINCIPLES, exclude_if=not_given
    )

    @model_validator(mode="after")
    def _on_its_scale(self) -> Self:
        for value in (self.value, *self.by_principle.values()):
            if not self.scale.min <= value <= self.scale.max:
                raise ValueError(f"a rating of {value:g} is off its scale, {self.scale.min:g} to {self.scale.max:g}")
        return self

    @classmethod
    def form(cls, scale: Scale = FIVE, by_principle: bool = False) -> tuple[FormField, ...]:
        """Ask for one number on ``scale``, and with ``by_principle`` for one by each principle."""
        fields = [
            FormField(name="response", type="response", title="Which response?", required=False),
            FormField(name="value", type="number", title="How good is the response?", **scale.model_dump()),
        ]
        if by_principle:
            title = "How good is the response by this principle?"
            kind = {"name": "by_principle", "type": "by_principle", "required": False}
            fields.append(FormField.model_validate({**kind, "title": title, **scale.model_dump()}))
        return tuple(fields)

    @classmethod
    def complete(cls, given: Any, form: Form) -> Any:
        """Return the long form, with the project's scale."""
        asked = form["value"]
        scale = {name: getattr(asked, name) for name in Scale.model_fields}
        return {"scale": scale} | (given if isinstance(given, dict) else {"value": given})

    def fits_form(self, form: Form) -> None:
        """The scale is the project's."""
        if (self.scale.min, self.scale.max) != (form["value"].min, form["value"].max):
            raise InputError("the scale is not the project's", where="/label/scale", fix="Leave it out.")

    def reordered(self, order: Sequence[int]) -> Self:
        """Return the same label of the same response, wherever that is now."""
        return self.model_copy(update={"response": order.index(self.response)})

    def check(self, responses: Sequence[Response]) -> None:
        """The rated response is one of them."""
        super().check(responses)
        one_of(responses, self.response)

    def principles(self) -> Sequence[str]:
        """Return those that a number was given for."""
        return list(self.by_principle)

    def rows(self, responses: Sequence[Response], *, ties: bool = False) -> Iterator[Row]:
        """Yield the response with its rating."""
        rated = responses[self.response]
        yield (
            "ratings",
            {
                "completion": answer(rated.text),
                "rating": self.value,
                "scale": [self.scale.min, self.scale.max],
                "model": rated.model,
                **by_principle("rating", self.by_principle),
            },
        )

    def about(self, responses: Sequence[Response]) -> tuple[Hashable, ...]:
        """Return the response's text, and the scale's ends."""
        return responses[self.response].text, self.scale.min, self.scale.max

    @classmethod
    def mean(cls, labels: Sequence[Self], way: Way) -> LabelMean | None:
        """Return the mean of the ratings, and by each principle of those that were given for it."""
        scale = labels[0].scale
        said: dict[str, list[float]] = {}
        for label in labels:
            for name, value in label.by_principle.items():
                said.setdefault(name, []).append(value)
        means = {name: _mean(values, scale) for name, values in said.items()}
        value = _mean([label.value for label in labels], scale)
        return LabelMean(labels[0].model_copy(update={"value": value, "by_principle": means}), range(len(labels)))

    def unit(self, responses: Sequence[Response]) -> tuple[Unit, float] | None:
        """Return the response on this scale, and the number."""
        return self.about(responses), self.value

    def units_by_principle(self, responses: Sequence[Response]) -> Mapping[str, tuple[Unit, float]]:
        """Return the response on this scale, and the number by each principle."""
        return {name: (self.about(responses), value) for name, value in self.by_principle.items()}


def _mean(values: Sequence[float], scale: Scale) -> float:
    return min(max(sum(values) / len(values), scale.min), scale.max)  # rounding may leave the scale
