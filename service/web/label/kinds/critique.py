"""What could be better, in words, with the places that are meant."""

from collections.abc import Mapping, Sequence
from typing import Any

from service.refusals import Invalid
from service.web.label.fields import Fields, one, several
from service.web.label.kinds.base import Asked, KindPage, missing, whole


class CritiquePage(KindPage):
    """A text, and marked words with a note each. Without scripts words are copied into a field instead."""

    kind = "critique"
    marks_words = True

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """See `KindPage`."""
        spans = [span | {"words": _words(asked.responses, span)} for span in _marked(fields)]
        return {"text": one(fields, "text"), "quote": one(fields, "quote"), "spans": spans, "one_key": False}

    def label(self, asked: Asked, fields: Fields) -> Any:
        """See `KindPage`."""
        text = one(fields, "text")
        if not text.strip():
            raise missing("nothing was written", "Say what could be better.")
        return {"text": text, "spans": _marked(fields) + _quoted(asked.responses, one(fields, "quote"))}

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """See `KindPage`."""
        fields = [("text", str(label["text"]))]
        for span in label.get("spans") or ():
            place = span.get("response", 0)
            fields += [("span", f"{place}:{span['start']}:{span['end']}"), ("span_note", span.get("note", ""))]
        return fields


def _marked(fields: Fields) -> list[dict[str, Any]]:
    notes = several(fields, "span_note")
    return [
        _span(value) | {"note": notes[at] if at < len(notes) else ""}
        for at, value in enumerate(several(fields, "span"))
    ]


def _span(value: str) -> dict[str, Any]:
    parts = [whole(part, "a marked place") for part in value.split(":")]
    if len(parts) != 3:
        raise Invalid("a marked place is malformed", "Mark the words again.")
    return dict(zip(("response", "start", "end"), parts, strict=True))


def _words(responses: Sequence[str], span: Mapping[str, Any]) -> str:
    place = span["response"]
    return responses[place][span["start"] : span["end"]] if 0 <= place < len(responses) else ""


def _quoted(responses: Sequence[str], quote: str) -> list[dict[str, Any]]:
    """The one place of words that were copied. Raises `Invalid` where they stand nowhere, or in several places."""
    quote = quote.strip()
    if not quote:
        return []
    places = [(place, text.replace("\r\n", "\n")) for place, text in enumerate(responses)]
    there = [(place, text) for place, text in places if quote in text]
    if not there:
        raise Invalid("these words stand in no answer", "Copy them exactly, or leave the field empty.")
    if sum(text.count(quote) for _, text in there) > 1:
        raise Invalid("these words stand in more than one place", "Copy a few words more, so that one place is meant.")
    start = responses[there[0][0]].find(quote)
    if start < 0:
        raise Invalid("these words go over a line's end", "Copy words of one line.")
    return [{"response": there[0][0], "start": start, "end": start + len(quote), "note": ""}]
