"""Pages of a list: a cursor says where the page before ended, so that page 100,000 comes as fast as the first."""

import base64
import binascii
from typing import Annotated

from fastapi import Query

from service.refusals import Invalid

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")]


def encode(place: int | str) -> str:
    """A cursor for the place of a page's last row."""
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def number(cursor: str | None) -> int | None:
    """The row number that a cursor holds. Raises `Invalid`."""
    text = decode(cursor)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise unknown()
    return int(text)


def decode(cursor: str | None) -> str | None:
    """The place that a cursor holds. Raises `Invalid`."""
    if cursor is None:
        return None
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise unknown() from None
    if "\0" in place:  # which PostgreSQL can't compare with anything
        raise unknown()
    return place


def unknown() -> Exception:
    """What to raise for a cursor that no page gave: `Invalid`."""
    return Invalid("this is no cursor of ours", "Pass the `next` of the page before as it is.", where="cursor")
