"""A command that was found, made what Typer runs: from here on its file is imported."""

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group
from typer.models import CommandInfo

from service.cli import light
from service.cli.found import GROUP, CommandPlace, Unread, description, group, in_folder, misfit
from service.cli.given.config import Command

COMMAND_CLASS = "COMMAND_CLASS"
"""The name that the class of a command has in its file, where it is another than `Command`."""


def opened(place: CommandPlace) -> Any:
    """Import a command, and return it as it runs. Raises `InputError` for a file that holds none."""
    if place.path.is_dir():
        commands = group(in_folder(place.module, place.path), opened)
        return _made(typer.Typer(cls=commands, help=description(place), no_args_is_help=True), place)
    module = light.module_of(place) if light.wanted.get() else import_module(place.module)
    application = getattr(module, GROUP, None)
    if isinstance(application, typer.Typer):
        return _made(application, place)
    made: TyperGroup = _made(_alone(module, place), place)
    return made.commands[place.name]


def every(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the names that lead to each command below ``command``, and it as it runs: for documents and tests."""
    if isinstance(command, Unread):
        command = command.opened()
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from every(inner, *path, name)


def _alone(module: ModuleType, place: CommandPlace) -> typer.Typer:
    function = getattr(module, place.name, None)
    if not callable(function) or not (function.__doc__ or "").strip():
        raise misfit(place)
    application = typer.Typer()
    application.command(place.name, cls=getattr(module, COMMAND_CLASS, Command))(function)
    return application


def _made(application: typer.Typer, place: CommandPlace) -> TyperGroup:
    for registered in _commands(application):
        if registered.cls in (None, TyperCommand):
            registered.cls = Command
    made = get_group(application)
    made.name = place.name
    return made


def _commands(application: typer.Typer) -> Iterator[CommandInfo]:
    yield from application.registered_commands
    for below in application.registered_groups:
        if below.typer_instance is not None:
            yield from _commands(below.typer_instance)
