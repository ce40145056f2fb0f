"""The answer that the annotator would have given."""

from collections.abc import Mapping
from typing import Any

from service.web.label.fields import Fields, one
from service.web.label.kinds.base import Asked, KindPage, missing


class DemonstrationPage(KindPage):
    """A text."""

    kind = "demonstration"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`."""
        return {"text": one(fields, "text"), "one_key": False}

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`."""
        text = one(fields, "text")
        if not text.strip():
            raise missing("nothing was written", "Write an answer.")
        return {"text": text}

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        return [("text", str(label["text"]))]
