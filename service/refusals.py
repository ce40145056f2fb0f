"""What the service refuses, and why: its own few errors, which know nothing of HTTP. `service.problems` answers them.

``slug`` is a word that programs can compare, ``detail`` one sentence, ``fix`` what to do next, ``faults`` each thing
that is wrong with where it stands, and ``retry_after`` the seconds after which the same may be asked for again.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

RETRY_SECONDS = 5  # what a client is asked to wait where something is away for a while


class Fault(BaseModel):
    """One thing that is wrong with a request: where it stands (a JSON pointer, or a parameter), and what it is."""

    where: str
    problem: str


class ProblemDocument(BaseModel):
    """RFC 9457. ``type`` is a slug that programs can compare; ``fix`` says what to do next."""

    type: str
    title: str
    status: int
    detail: str
    fix: str = ""
    faults: list[Fault] = Field(default_factory=list)


class Refusal(Exception):
    """Something that isn't done. Raise one of its kinds."""

    default_slug: ClassVar[str]

    def __init__(
        self,
        detail: str,
        fix: str = "",
        *,
        slug: str | None = None,
        faults: Sequence[Fault] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug, self.detail, self.fix = slug or self.default_slug, detail, fix
        self.faults, self.retry_after = list(faults), retry_after


class Malformed(Refusal):
    """The request can't be read."""

    default_slug = "malformed"


class Unauthorized(Refusal):
    """Nobody knows who asks."""

    default_slug = "unauthorized"


class Forbidden(Refusal):
    """Whoever asks may not."""

    default_slug = "forbidden"


class NotFound(Refusal):
    """There is no such thing, or none that the caller may see."""

    default_slug = "not_found"


class TooSlow(Refusal):
    """The client took too long, or went away."""

    default_slug = "too_slow"


class Conflict(Refusal):
    """What is asked for goes against what is there."""

    default_slug = "conflict"


class TooLarge(Refusal):
    """The request is larger than any may be."""

    default_slug = "too_large"


class Invalid(Refusal):
    """The request is well formed, and can't be done as it stands."""

    default_slug = "invalid"

    def __init__(
        self, detail: str, fix: str = "", *, where: str = "", slug: str | None = None, faults: Sequence[Fault] = ()
    ) -> None:
        own = [Fault(where=where, problem=detail)] if where else []
        super().__init__(detail, fix, slug=slug, faults=faults or own)


class TooMany(Refusal):
    """The caller asks for too much at once."""

    default_slug = "too_many_requests"


class Busy(Refusal):
    """There is too much to do already, or what does it is away. What was asked for can be asked for again."""

    default_slug = "busy"

    def __init__(
        self, detail: str, fix: str = f"Try again in {RETRY_SECONDS} seconds.", *, slug: str | None = None
    ) -> None:
        super().__init__(detail, fix, slug=slug, retry_after=RETRY_SECONDS)


class NoSuchMethod(Refusal):
    """Nobody knows what is asked for."""

    default_slug = "not_implemented"


class NoRoom(Refusal):
    """There is no more room on the disk, or none that may be taken."""

    default_slug = "disk_full"


def not_found(what: str, name: str, fix: str = "") -> NotFound:
    """There is no ``what`` of this name."""
    return NotFound(f"there is no {what} {name!r}", fix)
