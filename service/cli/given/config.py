"""``--config FILE``: a command's options from a file. What stands on the command line goes before it, and that is said.

A key is an option's long name, with hyphens or underscores. Every value is checked as strictly as the option's own:
YAML's ``yes`` is no number, and 2.5 no count.
"""

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from base.errors import InputError
from base.nearest import meant
from base.settings_file import read_settings_file
from critic.settings.panels import PANELS as PANELS
from service.cli.shown.voice import say

# What is of the command line alone.
_NOT_IN_FILES = ("config", "help", "quiet", "install-completion", "show-completion")
_FILE, _SECTIONS = "cai.config.file", "cai.config.sections"
_COMMAND_LINE = "COMMANDLINE"  # the name of typer's source of a value that stands there


class Command(TyperCommand):
    """A command whose headings of ``--help`` have one order, and that says what goes before ``--config``."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters in the order in which ``--help`` shows their headings."""
        return sorted(super().get_params(ctx), key=_place)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, and tell what it replaces."""
        left: list[str] = super().parse_args(ctx, args)
        file = ctx.meta.get(_FILE)
        for option in _options(self).values() if file is not None else ():
            key = option.name or ""
            values = ctx.default_map or {}
            if key in values and not _is_of_file(ctx, option, values):
                said = option.opts[0]
                say(f"{said} on the command line goes before {_key(option)} of {file}", err=True)
        return left

    def invoke(self, ctx: Any) -> Any:
        """Do the command. An `InputError` that names an option of the file names its place there."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            named = [option for option in _options(self).values() if error.where in option.opts]
            values, file = ctx.default_map or {}, ctx.meta.get(_FILE)
            if file is None or not named or not _is_of_file(ctx, named[0], values):
                raise
            raise InputError(error.problem, where=f"{file}: {_key(named[0])}", fix=error.fix) from error


def _is_of_file(ctx: Any, option: TyperOption, values: Mapping[str, Any]) -> bool:
    source = ctx.get_parameter_source(option.name)
    return option.name in values and not (source is not None and source.name == _COMMAND_LINE)


def _place(parameter: Any) -> int:
    panel = getattr(parameter, "rich_help_panel", None)
    return PANELS.index(panel) + 1 if isinstance(parameter, TyperOption) and panel in PANELS else 0


def config_option(sections: Collection[str] = ()) -> Any:
    """``--config`` for a command; keys among ``sections`` hold mappings, which `section` gives back."""

    def read(context: typer.Context, file: Path | None) -> Path | None:
        if file is not None:
            _read(context, file, sections)
        return file

    return typer.Option(
        "--config",
        metavar="FILE",
        help="Options from a file (YAML, JSON or TOML), by their names. The command line takes precedence.",
        rich_help_panel="Input",
        is_eager=True,
        callback=read,
        expose_value=False,
    )


ConfigFile = Annotated[Path | None, config_option()]


def section(context: typer.Context, name: str) -> dict[str, Any]:
    """Return the mapping that a file given with ``--config`` has under ``name``; empty where it has none."""
    settings: dict[str, Any] = context.meta.get(_SECTIONS, {}).get(name, {})
    return dict(settings)


def config_name(context: typer.Context) -> str:
    """Return the name of the file that was given with ``--config``, or nothing."""
    return str(context.meta.get(_FILE, ""))


def _read(context: typer.Context, file: Path, sections: Collection[str]) -> None:
    options = _options(context.command)
    values: dict[str, Any] = {}
    kept: dict[str, Mapping[str, Any]] = {}
    for key, value in read_settings_file(file).items():
        where = f"{file}: {key}"
        name = key.replace("_", "-")
        if key in sections:
            kept[key] = _mapping(value, where)
            continue
        if name not in options:
            command = context.command_path
            raise InputError(f"{command} has no such option", where=where, fix=meant(name, (*options, *sections)))
        option = options[name]
        if option.name in values:
            raise InputError("it is given twice, with hyphens and with underscores", where=where)
        if value is not None:
            values[option.name or ""] = _checked(context, option, value, where)
        elif option.default is not None:
            raise InputError("it has no value", where=where, fix="give one, or leave the line out")
    context.meta[_FILE], context.meta[_SECTIONS] = file, kept
    context.default_map = values


def _options(command: Any) -> dict[str, TyperOption]:
    """The options that a file may set, by their long names without hyphens before."""
    options = {_key(option): option for option in command.params if isinstance(option, TyperOption)}
    return {key: option for key, option in options.items() if key not in _NOT_IN_FILES}


def _key(option: TyperOption) -> str:
    long = next((name for name in option.opts if name.startswith("--")), option.opts[0])
    return long.lstrip("-")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError("it holds no settings", where=where, fix="expected keys and values under it")
    return {str(key): own for key, own in value.items()}


def _checked(context: typer.Context, option: TyperOption, value: Any, where: str) -> Any:
    """Return the value as the command line would give it. Raises `InputError` where the option can't have it."""
    wanted = _type(context.command, option)
    if option.multiple:
        items = value if isinstance(value, list) else [value]
        plain: Any = [_plain(wanted, item, where) for item in items]
    else:
        plain = _plain(wanted, value, where)
    if option.callback is None:  # those that have one do something, too: they are asked once, in their turn
        try:
            option.process_value(context, plain)
        except typer.BadParameter as error:
            raise InputError(f"{value!r} is refused: {error.message}", where=where) from None
    return plain


def _type(command: Any, option: TyperOption) -> Any:
    """The type of the value, or of each of several: as the command's function has it."""
    wanted = get_type_hints(inspect.unwrap(command.callback))[option.name or ""]
    while arguments := [one for one in get_args(wanted) if one is not type(None)]:  # of `int | None`, of `list[str]`
        wanted = arguments[0]
    return wanted if isinstance(wanted, type) else type(wanted)  # a choice's type is that of its words


def _plain(wanted: Any, value: Any, where: str) -> Any:
    """Refuse what a conversion would make something else of: 2.5 a whole number, ``yes`` a text."""
    if wanted is bool:
        if not isinstance(value, bool):
            raise InputError(f"{value!r} is neither true nor false", where=where)
        return value
    if wanted is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{value!r} is no whole number", where=where)
        return value
    if wanted is float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):  # YAML takes 1e-3 for a text
            raise InputError(f"{value!r} is no number", where=where)
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{value!r} is no text", where=where, fix="put it between quotes")
    return str(value)
