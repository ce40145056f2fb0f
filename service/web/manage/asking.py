"""What pages of those who run projects share: who may see them, forms that are sent once, names for ids."""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import FormData

from service.context import Service
from service.keys import access
from service.store.repeats.idempotency import Once, Replay
from service.web.visit import Visit, signed_in, text_of

M = TypeVar("M", bound=BaseModel)

Reader = Annotated[Visit, signed_in(*access.LABELS)]
Maker = Annotated[Visit, signed_in("feedback")]
JobReader = Annotated[Visit, signed_in(*access.JOBS)]
Submitter = Annotated[Visit, signed_in("jobs")]
Everyone = Annotated[Visit, signed_in("read")]
Admin = Annotated[Visit, signed_in("admin")]


async def only_once(
    parts: Service, visit: Visit, form: FormData, answer: type[M], do: Callable[[Once], Awaitable[M]]
) -> M:
    """Do what a form asks. One that is sent again, or twice at once, has one effect, and is answered as the first was.

    As `service.context.OnlyOnce` has it for programs: each form that is shown has a number of its own.
    """
    once = _once(parts, visit, form)
    if once.name is None:
        return await do(once)
    try:
        async with parts.under_way.alone(once.key, once.name):
            await once.replay()
            return await do(once)
    except Replay as before:
        return answer.model_validate(before.body)


def _once(parts: Service, visit: Visit, form: FormData) -> Once:
    name = text_of(form, "once")[:64]
    said = hashlib.sha256(repr(sorted((key, str(value)) for key, value in form.multi_items())).encode()).hexdigest()
    return Once(parts.database, visit.caller.key, f"page {name}" if name else None, said)


def new_number() -> str:
    """A number for a form: see `only_once`."""
    return secrets.token_hex(8)


def typed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was typed into a form, to be shown in it again; where nothing was, an empty text."""
    return defaultdict(str, values)


def lines_of(text: str) -> list[str]:
    """The lines of a field that say something."""
    return [line.strip() for line in text.split("\n") if line.strip()]
