"""What a field of a settings model says beside its type, default and description: how a command line and a request
give it.

The model is the one place where a setting is spelt. `service.cli.given.expand` makes a command's options of it,
`bounded` the part of a request, and both check what they read by the model itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import BaseMetadata
from pydantic import BaseModel, Field, ValidationError, create_model

from base.errors import InputError
from base.nearest import meant

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class CommandOption:
    """How a command line gives a field. A field without one is not the command line's.

    ``panel`` is the heading in ``--help``. ``flags`` are names in place of the field's own with hyphens, the long one
    first. ``is_argument``: it stands without a name. ``word`` is what is said for None, where that is a value like
    others. ``complete`` gives the words that begin like one in a shell.
    """

    panel: str | None = None
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    is_argument: bool = False
    word: str | None = None
    complete: Callable[[str], list[str]] | None = None


class InRequests:
    """Constraints that a field has in a request beside its own: a machine that many share has other limits."""

    __slots__ = ("constraints",)

    def __init__(self, *constraints: BaseMetadata) -> None:
        self.constraints = constraints


def option_of(model: type[BaseModel], name: str) -> CommandOption | None:
    """Return what a field says of the command line; None where it isn't the command line's."""
    return next((one for one in model.model_fields[name].metadata if isinstance(one, CommandOption)), None)


def flag_of(model: type[BaseModel], name: str) -> str:
    """Return a field's long name on the command line, with its hyphens."""
    option = option_of(model, name)
    return option.flags[0] if option is not None and option.flags else f"--{name.replace('_', '-')}"


def bounded(model: type[M]) -> type[M]:
    """Return the same model with the constraints that its fields have in requests."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        more = [one for meta in field.metadata if isinstance(meta, InRequests) for one in meta.constraints]
        if more:
            fields[name] = (Annotated[(field.annotation, field, *more)], field.default)
    return create_model(f"Bounded{model.__name__}", __base__=model, __doc__=model.__doc__, **fields)


def unset(model: type[M], told: str) -> type[M]:
    """Return the same model with all fields None by default: for who changes some. ``told`` goes behind their help."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        help = f"{field.description} {told}" if field.description else told
        of_field: Any = field.annotation
        about = Field(default=None, description=help)
        fields[name] = (Annotated[(of_field | None, *field.metadata, about)], None)
    return create_model(f"Unset{model.__name__}", __base__=model, __doc__=model.__doc__, **fields)


def read(model: type[M], values: Mapping[str, Any]) -> M:
    """Return the settings that a person gave. Raises `InputError` that names the option."""
    try:
        return model(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            raise InputError(f"there is no setting {name!r}", fix=meant(name, model.model_fields)) from None
        where = flag_of(model, name) if name else ""
        raise InputError(fault["msg"].removeprefix("Value error, "), where=where) from None


def as_file(settings: BaseModel) -> dict[str, Any]:
    """Return settings as a ``--config`` file of their command has them, as plain JSON.

    What is None is left out, and so are arguments, which stand on the command line alone.
    """
    plain = settings.model_dump(mode="json", exclude_none=True)
    options = {name: option_of(type(settings), name) for name in plain}
    return {name: plain[name] for name, option in options.items() if option is not None and not option.is_argument}
