"""A form made of a request's model, and the request that a filled-in form means, field by field.

So whatever a request may say can be said on a page, and the model itself checks it. An empty field says nothing: the
request's own default holds.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from service.api.body import parse
from service.jobs.requests import SUGGESTED
from service.refusals import Invalid, Refusal
from service.web.manage.asking import lines_of

Given = Mapping[str, str]
"""What was typed, by names such as ``settings.samples``."""

SOURCE = "Source"  # what a request's model calls where its rows come from
SEPARATOR = "."
OPTIONS_ABOUT = "x-enumDescriptions"  # the key of a schema that says what each choice is

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One field. ``name`` is its name in the form, ``key`` its last part, ``path`` its place in the request.

    ``control`` is one of `CONTROLS`, or ``group`` (of ``entries``), ``source`` or ``sources``, which others read.
    ``options`` has what there is to choose from, with what each is where the request says so. ``suggested`` is the list
    of what it may name: see `service.jobs.requests.SUGGESTED`.
    """

    name: str
    control: str
    is_required: bool = False
    default: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    suggested: str = ""
    entries: Sequence["Entry"] = ()

    @property
    def key(self) -> str:
        """What the request calls it."""
        return self.name.rpartition(SEPARATOR)[2]


def entries_of(model: type[BaseModel]) -> list[Entry]:
    """The fields of a request, those that have to be filled in first."""
    schema = model.model_json_schema()
    entries = _entries(schema, schema.get("$defs", {}), "")
    return sorted(entries, key=lambda entry: not entry.is_required)


def values_of(entries: Sequence[Entry], given: Given) -> dict[str, Any]:
    """The request that a form means, but for its sources. Raises `Invalid` for lines that can't be read."""
    values: dict[str, Any] = {}
    for entry in entries:
        if entry.control == "group":
            said: Any = values_of(entry.entries, given)
            values |= {entry.key: said} if said else {}
        elif entry.control == "more":
            values |= _more(given.get(entry.name, ""))
        elif entry.control in CONTROLS and (text := given.get(entry.name, "").strip()):
            values[entry.key] = CONTROLS[entry.control](text)
    return values


def _entries(schema: Mapping[str, Any], known: Mapping[str, Any], before: str) -> list[Entry]:
    required = schema.get("required", ())
    entries = [
        _entry(f"{before}{name}", _plain(said, known), known, name in required)
        for name, said in schema["properties"].items()
        if "const" not in said  # the kind, which is chosen already
    ]
    if schema.get("additionalProperties"):
        entries.append(Entry(f"{before}more", "more"))
    return entries


def _entry(name: str, said: Mapping[str, Any], known: Mapping[str, Any], is_required: bool) -> Entry:
    items = said.get("items", {})
    suggested = said.get(SUGGESTED, items.get(SUGGESTED, ""))
    if said.get("title") == SOURCE:
        return Entry(name, "source", is_required)
    if items.get("$ref", "").endswith(f"/{SOURCE}"):
        return Entry(name, "sources", is_required)
    if "properties" in said:
        return Entry(name, "group", is_required, entries=_entries(said, known, f"{name}{SEPARATOR}"))
    if "enum" in said:
        about = said.get(OPTIONS_ABOUT, {})
        options = {option: about.get(option, "") for option in said["enum"]}
        return Entry(name, "choice", is_required, _text(said.get("default")), options)
    control = {"integer": "whole", "number": "real", "boolean": "truth", "array": "lines"}.get(said["type"], "text")
    return Entry(name, control, is_required, _text(said.get("default")), suggested=suggested)


def _plain(said: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What a field takes, without the null that stands for nothing."""
    default = {"default": said["default"]} if "default" in said else {}
    if "anyOf" in said:
        [said] = [one for one in said["anyOf"] if one.get("type") != "null"]
    if "$ref" in said:
        said = known[said["$ref"].rpartition("/")[2]]
    return {**said, **default}


def _text(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default) if isinstance(default, str | int | float) else ""


def _whole(text: str) -> Any:
    """A whole number; what is none is left for the request to refuse."""
    return int(text) if _WHOLE.fullmatch(text) else text


def _real(text: str) -> Any:
    return float(text) if _REAL.fullmatch(text) else text


def _truth(text: str) -> Any:
    return {"yes": True, "no": False}.get(text, text)


def _more(text: str) -> dict[str, Any]:
    """Settings of a method's own: ``name = value``, one a line. Raises `Invalid`."""
    values: dict[str, Any] = {}
    for line in lines_of(text):
        name, is_given, value = (part.strip() for part in line.partition("="))
        if not name or not is_given:
            raise Invalid(f"{line[:80]!r} is no setting", "Write NAME = VALUE, one per line.", where="/settings")
        try:
            values[name] = parse(value.encode())
        except Refusal:  # a word
            values[name] = value
    return values


CONTROLS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "choice": str,
    "whole": _whole,
    "real": _real,
    "truth": _truth,
    "lines": lines_of,
}
"""What a field takes, and how the text in it is read."""
