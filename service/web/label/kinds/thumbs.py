"""An answer: good or bad."""

from collections.abc import Mapping
from typing import Any

from service.web.label.fields import Fields, one, with_keys
from service.web.label.kinds.base import Asked, KindPage, chosen_of, response_of


class ThumbsPage(KindPage):
    """Two buttons."""

    kind = "thumbs"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`."""
        made = [(str(option.value), asked.t(f"thumbs.{option.value}")) for option in asked.form["value"].options]
        choices = with_keys(made, one(fields, "choice"))
        return {"choices": choices, "one_key": True, "response": response_of(fields)}

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`."""
        return {"value": chosen_of(fields), "response": response_of(fields)}

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        return [("choice", str(label["value"])), ("response", str(label.get("response", 0)))]

    def said(self, asked: Asked, label: Mapping[str, Any]) -> str:
        """See `KindPage`."""
        return asked.t(f"thumbs.{label['value']}")
