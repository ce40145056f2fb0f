"""Two answers, side by side."""

from collections.abc import Mapping
from typing import Any

from service.web.label.fields import ChoiceButton, Fields, after, one, several, with_keys
from service.web.label.kinds.base import Asked, KindPage, chosen_of, whole
from service.web.texts import Texts


class ComparisonPage(KindPage):
    """A graded scale from the first to the second, both ties, and "not sure": one key a decision."""

    kind = "comparison"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`."""
        chosen, principles = one(fields, "choice"), asked.principles
        by_principle = asked.form.get("by_principle")
        options = () if by_principle is None else by_principle.options
        return {
            "choices": _choices(asked, chosen),
            "chosen": chosen,
            "one_key": not principles,
            "principles": principles,
            "principle_choices": [ChoiceButton(str(o.value), asked.t(f"comparison.{o.value}")) for o in options],
            "by_principle": after(fields, "principle:"),
            "deciding": several(fields, "deciding"),
        }

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`."""
        choice, _, strength = chosen_of(fields).partition(".")
        label: dict[str, Any] = {"choice": choice}
        if strength:
            label["strength"] = whole(strength, "the strength")
        if asked.principles:
            said = {id: value for id, value in after(fields, "principle:").items() if value}
            label |= {"by_principle": said, "deciding": several(fields, "deciding")}
        return label

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        choice = str(label.get("tie_kind") or label.get("choice") or label.get("outcome"))
        strength = label.get("strength")
        fields = [("choice", choice if strength is None else f"{choice}.{strength}")]
        fields += [(f"principle:{id}", str(value)) for id, value in (label.get("by_principle") or {}).items()]
        return fields + [("deciding", id) for id in label.get("deciding") or ()]

    def said(self, asked: Asked, label: Mapping[str, Any]) -> str:
        """See `KindPage`."""
        value = one(self.fields(label), "choice")
        by_value = {choice.value: choice.text for choice in _choices(asked, value)}
        return by_value.get(value) or asked.t(f"comparison.{value.partition('.')[0]}")


def _choices(asked: Asked, chosen: str) -> list[ChoiceButton]:
    strength = asked.form.get("strength")
    levels = 0 if strength is None else int(strength.max or 0)
    made: list[tuple[str, str]] = []
    for option in asked.form["choice"].options:
        made += _strengths(str(option.value), levels, asked.t)
    return with_keys(made, chosen)


def _strengths(option: str, levels: int, t: Texts) -> list[tuple[str, str]]:
    if option not in ("first", "second") or levels < 2:
        return [(option, t(f"comparison.{option}"))]
    steps = range(levels, 0, -1) if option == "first" else range(1, levels + 1)
    return [(f"{option}.{step}", _strength(option, step, levels, t)) for step in steps]


def _strength(option: str, step: int, levels: int, t: Texts) -> str:
    if step == levels:
        return t(f"comparison.{option}.most")
    if step == 1:
        return t(f"comparison.{option}.least")
    return t(f"comparison.{option}.between", strength=step)
