"""Forms that become requests: what pages ask of the API is held to the same rules as what programs ask."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from service.labels.label_form import faults_of
from service.refusals import Invalid

M = TypeVar("M", bound=BaseModel)


def requested(model: type[M], values: dict[str, Any]) -> M:
    """The request that a form means. Raises `Invalid` with every fault; made any other way, a fault would be ours."""
    try:
        return model.model_validate_json(to_json(values))
    except ValidationError as error:
        faults = faults_of(error)
        detail = f"{faults[0].where}: {faults[0].problem}"
        raise Invalid(detail, "Mend it and send it again.", faults=faults) from None
