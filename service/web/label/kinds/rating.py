"""How good an answer is, on the project's scale."""

from collections.abc import Mapping
from typing import Any

from critic.feedback.base import FormField
from service.web.label.fields import KEYS, ChoiceButton, Fields, after, number, one
from service.web.label.kinds.base import Asked, KindPage, chosen_of, real, response_of

FEW_POINTS = 11  # of a scale that has a button for each


class RatingPage(KindPage):
    """A button for each point of a short scale, else a number; and one for each principle where the project asks."""

    kind = "rating"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`."""
        field, chosen = asked.form["value"], one(fields, "choice")
        choices = _points(field, chosen)
        ends = {"min": number(field.min), "max": number(field.max)}
        return {
            "choices": choices,
            "chosen": chosen,
            "one_key": bool(choices) and not asked.principles,
            "scale": ends | {"min_means": field.min_means, "max_means": field.max_means},
            "principles": asked.principles,
            "by_principle": after(fields, "principle:"),
            "response": response_of(fields),
        }

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`."""
        label: dict[str, Any] = {"value": real(chosen_of(fields), "the rating"), "response": response_of(fields)}
        if asked.principles:
            said = after(fields, "principle:").items()
            label["by_principle"] = {id: real(value, f"the rating by {id}") for id, value in said if value.strip()}
        return label

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        fields = [("choice", number(label["value"])), ("response", str(label.get("response", 0)))]
        return fields + [(f"principle:{id}", number(v)) for id, v in (label.get("by_principle") or {}).items()]

    def said(self, asked: Asked, label: Mapping[str, Any]) -> str:
        """See `KindPage`."""
        field = asked.form["value"]
        return asked.t("rating.said", value=number(label["value"]), min=number(field.min), max=number(field.max))


def _points(field: FormField, chosen: str) -> list[ChoiceButton]:
    """Each whole number of a short scale; none where the scale is long or has no whole ends."""
    low, high = field.min or 0.0, field.max or 0.0
    if low != int(low) or high != int(high) or high - low >= FEW_POINTS:
        return []
    numbers = [str(point) for point in range(int(low), int(high) + 1)]
    are_digits = all(len(point) == 1 for point in numbers)
    return [
        ChoiceButton(point, point, point if are_digits else key, "", point == chosen)
        for point, key in zip(numbers, KEYS, strict=False)
    ]
