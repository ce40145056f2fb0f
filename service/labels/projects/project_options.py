"""What kinds of feedback let a project say of how labels are asked for, as fields of the request that makes one."""

from typing import Any, TypeVar

from pydantic import BaseModel, create_model

from critic.feedback import KINDS
from critic.feedback.base import FormField, ProjectOptions
from service.refusals import Invalid

Request = TypeVar("Request", bound=BaseModel)


def with_options(request: type[Request]) -> type[Request]:
    """Return ``request`` with a field for each option of each kind."""
    fields: dict[str, Any] = {}
    for label in KINDS.values():
        fields |= {name: (field.annotation, field) for name, field in label.options.model_fields.items()}
    return create_model(request.__name__.lstrip("_"), __base__=request, __doc__=request.__doc__, **fields)


def form_of(kind: str, asked: BaseModel, constitution: str | None) -> tuple[FormField, ...]:
    """Return what a project of ``kind`` asks people, by the options in the request that makes it.

    Raises `Invalid` for an option that the kind doesn't have, or that needs a constitution where there is none.
    """
    known = {name for label in KINDS.values() for name in label.options.model_fields}
    said = {name: value for name in sorted(known) if (value := getattr(asked, name)) is not None}
    label = KINDS[kind]
    for name in said:
        if name not in label.options.model_fields:
            has = [other.kind for other in KINDS.values() if name in other.options.model_fields]
            raise Invalid(f"only a {' or a '.join(has)} has {name}", "Leave it out.", where=f"/{name}")
    options: ProjectOptions = label.options(**said)
    if options.needs_constitution and constitution is None:
        raise Invalid("principles are those of a constitution", "Give NAME@VERSION.", where="/constitution")
    return label.form(**said)
