"""A command whose options are the fields of a settings model: what is written once there is not written again here."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from base.errors import InputError
from base.option import CommandOption, flag_of, option_of, read


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with an option for each field of its parameter that is a model, in the place of that one.

    Other parameters stay as they are: they are the command line's alone, and in no file and no request. Raises
    `InputError` with the option's name for what the model refuses.
    """
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    [(place, model)] = [(name, hint) for name, hint in hints.items() if _is_model(hint)]

    def expanded(**given: Any) -> None:
        own = {name: given.pop(name) for name in list(given) if name in model.model_fields}
        command(**{place: settings_of(model, own)}, **given)

    parameters = [
        one
        for name, parameter in signature.parameters.items()
        for one in (
            _parameters(model)
            if name == place
            else [parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]
    for name in functools.WRAPPER_ASSIGNMENTS:
        if name not in ("__annotations__", "__type_params__") and hasattr(command, name):
            setattr(expanded, name, getattr(command, name))
    expanded.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    vars(expanded)["__signature__"] = inspect.Signature(parameters)
    return expanded


def option(model: type[BaseModel], name: str) -> Any:
    """Return the option of one field, for a command that hasn't the whole model."""
    field, about = model.model_fields[name], option_of(model, name)
    assert about is not None, name
    if about.is_argument:
        return typer.Argument(metavar=about.metavar, help=field.description, autocompletion=about.complete)
    least, most = _bounds(field) if about.word is None else (None, None)
    return typer.Option(
        *(about.flags or (flag_of(model, name),)),
        metavar=about.metavar,
        help=field.description,
        rich_help_panel=about.panel,
        autocompletion=about.complete,
        min=least,
        max=most,
    )


def settings_of(model: type[BaseModel], given: Mapping[str, Any]) -> Any:
    """Return the settings that the values of a command's options are. Raises `InputError`."""
    values = {}
    for name, value in given.items():
        field, about = model.model_fields[name], option_of(model, name)
        assert about is not None, name
        if about.word is not None:
            value = _number(value, about.word, flag_of(model, name))
        elif _several(field):
            value = tuple(value or ())
        values[name] = value
    return read(model, values)


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _parameters(model: type[BaseModel]) -> Iterator[inspect.Parameter]:
    for name, field in model.model_fields.items():
        about = option_of(model, name)
        if about is not None:
            kind, default = _annotation(field, about), _default(field, about)
            annotation: Any = Annotated[(kind, option(model, name))]
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(field: FieldInfo, about: CommandOption) -> Any:
    """The type of the option: what the command line can give, which is no tuple, and the word in place of None."""
    if about.word is not None:
        return str
    if not _several(field):
        return field.annotation
    several: Any = GenericAlias(list, get_args(field.annotation)[0])
    return several if field.is_required() or field.default else several | None


def _default(field: FieldInfo, about: CommandOption) -> Any:
    if field.is_required():
        return inspect.Parameter.empty
    if about.word is not None and field.default is None:
        return about.word
    return (list(field.default) or None) if _several(field) else field.default


def _several(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    """The closed bounds of a number, as ``--help`` shows them; open ones are the model's to check."""
    if not _is_number(field.annotation):
        return None, None
    least = next((one.ge for one in field.metadata if getattr(one, "ge", None) is not None), None)
    most = next((one.le for one in field.metadata if getattr(one, "le", None) is not None), None)
    return least, most


def _is_number(annotation: Any) -> bool:
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return {*kinds} - {NoneType} <= {int, float}


def _number(text: str, word: str, where: str) -> int | None:
    """Read a whole number, or the word that is said for None."""
    if text == word:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{text!r} is not a number", where=where, fix=f"{word}, or 1, 2, ...")
    return int(text)
