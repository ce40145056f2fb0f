"""What the page of each kind of task says of itself: its template's values, the label that a form means, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from constitution import Constitution
from critic.feedback import Kind
from critic.feedback.base import FormField
from service.refusals import Invalid
from service.web.label.fields import Fields, one
from service.web.texts import Texts

MOST_DIGITS = 9  # of a place in a text, or a rank


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an annotator: the project's form, the answers as they are shown, and the principles."""

    form: Mapping[str, FormField]
    responses: Sequence[str]
    constitution: Constitution | None
    t: Texts

    @property
    def principles(self) -> list[dict[str, str]]:
        """The principles by which each is asked for a choice of its own; none where that is not asked."""
        if "by_principle" not in self.form or self.constitution is None:
            return []
        return [{"id": principle.id, "title": principle.title} for principle in self.constitution.principles]


class KindPage:
    """The page of one kind."""

    kind: Kind
    marks_words = False  # of the answers, which then stand as they were written, with no differences marked

    def values(self, asked: Asked, fields: Fields) -> dict[str, Any]:
        """What the template shows, with ``fields`` filled in."""
        raise NotImplementedError  # each kind has its own

    def label(self, asked: Asked, fields: Fields) -> Any:
        """The label that a form means, in the order of the page. Raises `Invalid`."""
        raise NotImplementedError  # each kind has its own

    def fields(self, label: Mapping[str, Any]) -> Fields:
        """The fields that say a label: what the page begins with where it is answered already."""
        raise NotImplementedError  # each kind has its own

    def said(self, asked: Asked, label: Mapping[str, Any]) -> str:
        """A label in a few words, as its annotator would say it."""
        return str(label.get("text", ""))


def chosen_of(fields: Fields) -> str:
    """The button or radio that was chosen. Raises `Invalid`."""
    if not (value := one(fields, "choice")):
        raise missing("nothing was chosen", "Choose an answer.")
    return value


def missing(detail: str, fix: str) -> Invalid:
    """Something is not there that has to be."""
    return Invalid(detail, fix)


def whole(text: str, what: str) -> int:
    """A whole number, of a few digits. Raises `Invalid`."""
    try:
        if len(text) > MOST_DIGITS:
            raise ValueError("no place or rank has so many digits")
        return int(text)
    except ValueError:
        raise Invalid(f"{what} is no whole number: {text[:40]!r}", "Use the page's own buttons.") from None


def real(text: str, what: str) -> float:
    """A number. Raises `Invalid`."""
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"{what} is no number: {text[:40]!r}", "Give a number, such as 4.") from None


def response_of(fields: Fields) -> int:
    """Which answer a label is about, where there are several."""
    return whole(one(fields, "response", "0") or "0", "the answer's place")
