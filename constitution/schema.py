"""What a constitution file may hold. Frozen, strict, and the same text whatever the file's line breaks.

Identity is content. `Constitution.digest` covers everything; `Principle.digest` only what a model reads of a
principle, so that changing a weight invalidates no stored vote.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from base.digest import digest

SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"
VERSION = r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}"
READ_BY_MODELS = ("id", "title", "statement", "critique", "revision", "compare", "opposite", "examples")

_LINE_BREAK = re.compile(r"\r\n|[\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _verbatim(text: str) -> str:
    """Text whose inner white space matters (an answer with code in it): only the ends are trimmed."""
    text = _LINE_BREAK.sub("\n", text).strip()
    if not text:
        raise ValueError("the text is empty")
    if control := _UNPRINTABLE.search(text):
        raise ValueError(f"the text holds the control character U+{ord(control[0]):04X}")
    return text


def _one_paragraph(text: str) -> str:
    return " ".join(_verbatim(text).split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", _verbatim(text)))


def _slug(text: str) -> str:
    if not re.fullmatch(SLUG, text):
        raise ValueError(
            f"{text!r} is not a slug; use lower-case letters, digits and single hyphens, like 'no-weapons'"
        )
    return text


def _version(text: str) -> str:
    if not re.fullmatch(VERSION, text):
        raise ValueError(f"{text!r} is not a version; expected MAJOR.MINOR.PATCH in whole numbers, like 1.0.0")
    return text


def _reference(text: str) -> str:
    if not re.fullmatch(f"{SLUG}@{VERSION}", text):
        raise ValueError(f"{text!r} does not pin a constitution; expected NAME@VERSION, like harmlessness@1.0.0")
    return text


def _distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise ValueError("an entry is listed twice")
    return items


Prose = Annotated[str, AfterValidator(_one_paragraph)]
Paragraphs = Annotated[str, AfterValidator(_paragraphs)]
Verbatim = Annotated[str, AfterValidator(_verbatim)]
Slug = Annotated[str, AfterValidator(_slug)]
Version = Annotated[str, AfterValidator(_version)]
Reference = Annotated[str, AfterValidator(_reference)]
Tags = Annotated[tuple[Slug, ...], AfterValidator(_distinct)]
Count = Annotated[int, Field(ge=0)]
Priority = Annotated[int, Field(ge=1, le=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but a digest that was computed already is not carried over to the changed copy."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


class Turn(_Part):
    """An earlier turn of an example's conversation."""

    role: Literal["user", "assistant"]
    content: Verbatim


class Example(_Part):
    """A few-shot for critique and revision: an answer, what is wrong with it under the principle, and a better one.

    ``history`` holds the turns before ``prompt``, oldest first, where the conversation has any.
    """

    history: tuple[Turn, ...] = ()
    prompt: Verbatim
    response: Verbatim
    critique: Verbatim
    revision: Verbatim


class Group(_Part):
    """Whose value a principle is, and how many of them voted for it, against it, or passed."""

    id: Slug
    agrees: Count = 0
    disagrees: Count = 0
    passes: Count = 0

    @property
    def support(self) -> float | None:
        """The share that agrees, of all who were asked, passes included; None where nobody was."""
        asked = self.agrees + self.disagrees + self.passes
        return self.agrees / asked if asked else None


class Principle(_Part):
    """One thing a response should do, with the instructions that make a model look for it.

    ``critique`` asks what a response gets wrong, ``revision`` asks for a rewrite, ``compare`` asks which of two
    responses is better. ``opposite`` says what violating the principle would look like. Principles of ``priority`` 1
    decide before those of 2; within a priority, ``weight`` counts. ``applies_to`` names prompt tags; empty means all.
    """

    id: Slug
    title: Prose
    statement: Prose
    critique: Prose
    revision: Prose
    compare: Prose
    opposite: Prose | None = None
    weight: float = Field(default=1.0, gt=0)
    priority: Priority = 1
    tags: Tags = ()
    group: Group | None = None
    applies_to: Tags = ()
    examples: tuple[Example, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what a model reads of the principle: not of weight, priority, tags, group or applies_to."""
        return digest(["principle", self.model_dump(mode="json", include=set(READ_BY_MODELS))])

    def applies(self, tags: Iterable[str]) -> bool:
        """Whether the principle speaks to a prompt with these tags."""
        return not self.applies_to or not set(self.applies_to).isdisjoint(tags)


def _bare_reference(value: Any) -> Any:
    return {"ref": value} if isinstance(value, str) else value


class Include(_Part):
    """Another constitution at a pinned version. ``priority`` replaces that of all its principles.

    ``digest`` is filled in when the file is loaded. In a file it pins the content: any other is an error.
    """

    ref: Reference
    priority: Priority | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class Constitution(_Part):
    """A named, versioned list of principles.

    As loaded, ``principles`` holds the file's own, then those of each include, in order; their ids are unique.
    """

    name: Slug
    version: Version
    title: Prose
    summary: Prose
    license: Prose
    language: Prose
    preamble: Paragraphs | None = None
    includes: tuple[Annotated[Include, BeforeValidator(_bare_reference)], ...] = ()
    principles: tuple[Principle, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        seen: set[str] = set()
        for principle in self.principles:
            if principle.id in seen:
                raise ValueError(f"two principles have the id {principle.id!r}")
            seen.add(principle.id)
        return self

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole content, that of includes too."""
        return digest(["constitution", self.model_dump(mode="json")])

    def principle(self, id: str) -> Principle:
        """Return the principle of that id; KeyError where there is none."""
        for principle in self.principles:
            if principle.id == id:
                return principle
        raise KeyError(id)
