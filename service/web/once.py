"""A form that is sent twice has one effect: each carries a name of its own, as programs' requests may."""

from starlette.datastructures import FormData

from base.digest import digest
from service.context import Service
from service.keys.auth import Caller
from service.store.repeats.idempotency import Once
from service.web.visit import text_of

NOT_ASKED = ("csrf", "once", "seconds")  # what differs when the same is sent again


def once_of(parts: Service, caller: Caller, form: FormData, path: str) -> Once:
    """What to hand to a route of the API that looks for an earlier answer only where it can't store a new one."""
    name = text_of(form, "once")[:200]
    fields = [(key, value) for key, value in form.multi_items() if key not in NOT_ASKED and isinstance(value, str)]
    return Once(parts.database, caller.key, f"page {name}" if name else None, digest(["form", path, fields]))
