"""An answer, edited."""

from collections.abc import Mapping
from typing import Any

from service.refusals import Invalid
from service.web.label.fields import Fields, one
from service.web.label.kinds.base import Asked, KindPage, missing, response_of


class CorrectionPage(KindPage):
    """The answer's text to edit, with what was changed shown below it."""

    kind = "correction"

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`. The text begins as the answer is."""
        place = response_of(fields)
        begun = asked.responses[place] if place < len(asked.responses) else ""
        is_better = one(fields, "better") == "yes" or not one(fields, "asks_better")
        return {"text": one(fields, "text", begun), "better": is_better, "response": place, "one_key": False}

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`. Browsers end lines in one way; where the answer's lines end in another, they still do."""
        text, place = one(fields, "text"), response_of(fields)
        if place >= len(asked.responses):
            raise Invalid("there is no such answer", "Choose one of those on the page.")
        before = asked.responses[place]
        if not text.strip():
            raise missing("the edited answer is empty", "Write what a good answer is.")
        if "\r\n" in before:
            text = text.replace("\n", "\r\n")
        if text == before:
            raise missing("nothing was edited", "Change the answer, or skip it if it is good as it is.")
        return {"text": text, "response": place, "better": one(fields, "better") == "yes"}

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        fields = [("text", str(label["text"])), ("response", str(label.get("response", 0))), ("asks_better", "yes")]
        return [*fields, ("better", "yes")] if label.get("better", True) else fields
