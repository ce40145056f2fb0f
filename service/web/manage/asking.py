"""What pages of those who run projects share: who may see them, forms that are sent once, names for ids."""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from starlette.datastructures import FormData

from service.context import Service
from service.keys import access
from service.store.repeats.idempotency import Once
from service.web.visit import Visit, signed_in, text_of

Reader = Annotated[Visit, signed_in(*access.LABELS)]
Maker = Annotated[Visit, signed_in("feedback")]
JobReader = Annotated[Visit, signed_in(*access.JOBS)]
Submitter = Annotated[Visit, signed_in("jobs")]
Everyone = Annotated[Visit, signed_in("read")]
Admin = Annotated[Visit, signed_in("admin")]


def once(parts: Service, visit: Visit, form: FormData) -> Once:
    """Let a form that is sent twice have one effect: each that is shown has a number of its own."""
    name = text_of(form, "once")[:64]
    said = hashlib.sha256(repr(sorted((key, str(value)) for key, value in form.multi_items())).encode()).hexdigest()
    return Once(parts.database, visit.caller.key, f"page {name}" if name else None, said)


def new_number() -> str:
    """A number for a form: see `once`."""
    return secrets.token_hex(8)


def typed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was typed into a form, to be shown in it again; where nothing was, an empty text."""
    return defaultdict(str, values)


def lines_of(text: str) -> list[str]:
    """The lines of a field that say something."""
    return [line.strip() for line in text.split("\n") if line.strip()]
