"""What pages of those who run projects share: who may see them, forms that become requests, names for ids."""

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.datastructures import FormData

from service.context import Service
from service.keys import access
from service.labels.label_form import faults_of
from service.refusals import Invalid
from service.store.repeats.idempotency import Once
from service.web.visit import Visit, signed_in, text_of

Reader = Annotated[Visit, signed_in(*access.LABELS)]
Maker = Annotated[Visit, signed_in("feedback")]
JobReader = Annotated[Visit, signed_in(*access.JOBS)]
Submitter = Annotated[Visit, signed_in("jobs")]
Everyone = Annotated[Visit, signed_in("read")]
Admin = Annotated[Visit, signed_in("admin")]

M = TypeVar("M", bound=BaseModel)


def requested(model: type[M], values: dict[str, Any]) -> M:
    """The request that a form means, by the same rules as the API's. Raises `Invalid` with every fault."""
    try:
        return model.model_validate_json(to_json(values))
    except ValidationError as error:
        faults = faults_of(error)
        detail = f"{faults[0].where}: {faults[0].problem}"
        raise Invalid(detail, "Mend it and send it again.", faults=faults) from None


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
