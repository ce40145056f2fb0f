"""Commands that are found in folders, and imported when they run or are asked for their own help.

What a listing says of a command is read off its file, as text: so it can't say anything else than the command does.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from base.errors import InputError

GROUP = "app"
"""The name that the Typer application of a command with commands of its own has in its file."""


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """Where a command is: its ``name``, its ``module``, its file or folder, and the heading that it is listed under."""

    name: str
    module: str
    path: Path
    heading: str | None = None


Opener = Callable[[CommandPlace], Any]
"""Imports a command, and returns it as Typer runs it."""


class Unread(TyperCommand):
    """A command as listings have it: nothing of it is imported."""

    def __init__(self, place: CommandPlace, open: Opener) -> None:
        super().__init__(place.name, rich_help_panel=place.heading)
        self.place, self._open = place, open

    def opened(self) -> Any:
        """Return the command as it runs."""
        return self._open(self.place)

    def described(self) -> "Unread":
        """Read its help, if that was not done before."""
        self.help = self.help or description(self.place)
        return self


class FoundGroup(TyperGroup):
    """A group of commands that were found; `group` makes its class."""

    listed: Sequence[Unread] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {command.place.name: command for command in self.listed}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command as listings have it."""
        unread: Any = self.commands.get(cmd_name)
        return None if unread is None else unread.described()

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments name, as it runs."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.opened() if isinstance(command, Unread) else command, rest


def group(places: Iterable[CommandPlace], open: Opener) -> type[FoundGroup]:
    """Return the class of a group that has these commands."""
    return type("Group", (FoundGroup,), {"listed": [Unread(place, open) for place in places]})


def in_folder(package: str, folder: Path, heading: str | None = None) -> Iterator[CommandPlace]:
    """Yield the commands of a folder, by name."""
    for path in sorted(folder.iterdir()):
        if _is_module(path):
            yield CommandPlace(path.stem, f"{package}.{path.stem}", path, heading)


def in_folders(package: str, folder: Path, order: Sequence[str]) -> list[CommandPlace]:
    """Return the commands of the folders in ``folder``, each under its heading. Raises `InputError` for equal names."""
    rooms = [path for path in sorted(folder.iterdir()) if path.is_dir() and _is_module(path)]
    rooms.sort(key=lambda room: order.index(room.name) if room.name in order else len(order))
    places: dict[str, CommandPlace] = {}
    for room in rooms:
        for place in in_folder(f"{package}.{room.name}", room, help_of_folder(room)):
            if place.name in places:
                raise InputError(
                    f"there is a command {place.name!r} already, {places[place.name].path}",
                    where=str(place.path),
                    fix="Give one of them another name.",
                )
            places[place.name] = place
    return list(places.values())


def description(place: CommandPlace) -> str:
    """Return the first paragraph of a command's help, read off its file. Raises `InputError` where it has none."""
    text = help_of_folder(place.path) if place.path.is_dir() else _help_in(place)
    if not text:
        raise misfit(place)
    return text


def help_of_folder(folder: Path) -> str:
    """Return the first paragraph of a package's docstring."""
    return _first(ast.get_docstring(_tree(folder / "__init__.py")))


def misfit(place: CommandPlace) -> InputError:
    """Return what is wrong with a file that holds no command."""
    return InputError(
        f"it is no command: it lacks a function {place.name} with a docstring, or {GROUP} = typer.Typer(help=...)",
        where=str(place.path),
        fix="The docstring is what --help says, and the function's parameters are the options.",
    )


def _help_in(place: CommandPlace) -> str:
    statements = _tree(place.path).body
    for statement in statements:
        if isinstance(statement, ast.FunctionDef) and statement.name == place.name:
            return _first(ast.get_docstring(statement))
    calls = [one.value for one in statements if isinstance(one, ast.Assign) and _names(one) == [GROUP]]
    for call in calls:
        for keyword in call.keywords if isinstance(call, ast.Call) else ():
            if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                return _first(str(keyword.value.value))
    return ""


def _names(assignment: ast.Assign) -> list[str]:
    return [target.id for target in assignment.targets if isinstance(target, ast.Name)]


def _first(text: str | None) -> str:
    paragraph = (text or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split())


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), str(file))


def _is_module(path: Path) -> bool:
    if path.is_dir():
        return (path / "__init__.py").is_file()
    return path.suffix == ".py" and path.stem != "__init__"
