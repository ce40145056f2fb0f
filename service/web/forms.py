"""Forms that become requests: held to the same rules as what programs ask, and with one effect, however often sent."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.datastructures import FormData

from base.digest import digest
from service.context import Service
from service.keys.auth import Caller
from service.labels.label_form import faults_of
from service.refusals import Invalid
from service.store.repeats.idempotency import Once
from service.web.visit import text_of

M = TypeVar("M", bound=BaseModel)

NOT_ASKED = ("csrf", "once", "seconds")  # what differs when the same is sent again


def requested(model: type[M], values: dict[str, Any]) -> M:
    """The request that a form means. Raises `Invalid` with every fault; made any other way, a fault would be ours."""
    try:
        return model.model_validate_json(to_json(values))
    except ValidationError as error:
        faults = faults_of(error)
        detail = f"{faults[0].where}: {faults[0].problem}"
        raise Invalid(detail, "Mend it and send it again.", faults=faults) from None


def once_of(parts: Service, caller: Caller, form: FormData, path: str) -> Once:
    """What to hand to a route of the API that looks for an earlier answer only where it can't store a new one."""
    name = text_of(form, "once")[:200]
    fields = [(key, value) for key, value in form.multi_items() if key not in NOT_ASKED and isinstance(value, str)]
    return Once(parts.database, caller.key, f"page {name}" if name else None, digest(["form", path, fields]))
