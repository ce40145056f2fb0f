"""Plug-ins: what stands in the files of a folder, found by being there."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules, walk_packages
from types import ModuleType
from typing import TypeVar

from base.errors import InputError
from base.extras import told_missing

T = TypeVar("T")


def imported(package: str, folders: Iterable[str], *, rooms: bool = False) -> Iterator[ModuleType]:
    """Import each file of a package's folders and yield its module, by name; with ``rooms``, those further down, too.

    Raises `InputError` that names the file where one can't be imported.
    """
    walk = walk_packages if rooms else iter_modules
    for place in walk(folders, f"{package}."):
        yield _imported(place.name)


def by_name(what: str, named: Iterable[tuple[str, str, T]]) -> dict[str, T]:
    """Return objects by their names, of triples of a name, the module it stands in, and the object.

    Raises `InputError` where two ``what`` have one name.
    """
    known: dict[str, T] = {}
    for name, where, one in named:
        if name in known:
            raise InputError(f"there is {what} {name!r} already", where=where, fix="name it otherwise")
        known[name] = one
    return known


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """Return what checks a name for `pydantic.AfterValidator`: it raises `ValueError` for none of the ``known``."""
    names = list(known)

    def checked(name: str) -> str:
        if name not in names:
            raise ValueError(f"there is no {what} {name!r}; known kinds: {', '.join(map(repr, names))}")
        return name

    return checked


def _imported(name: str) -> ModuleType:
    try:
        with told_missing(name):
            return import_module(name)
    except InputError:
        raise
    except Exception as error:  # a plug-in may be anybody's program: whatever it raises, people need its place
        problem = f"it can't be imported: {type(error).__name__}: {error}"
        raise InputError(problem, where=name, fix="Compare it with the files beside it.") from error
