"""What a subcommand of ``cai evaluate`` is, and how those that are there are found."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from base.errors import InputError

OBJECT = "MEASUREMENT"
"""The name that a file's object has."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A subcommand: its ``name``, and the function whose parameters are its options and whose docstring is its help."""

    name: str
    command: Callable[..., None]


def discovered(room: ModuleType) -> tuple[Measurement, ...]:
    """Return the measurements of the files of ``room``, by name.

    Raises `InputError` for a file without one, for one that has no help, and for two of one name.
    """
    modules = [import_module(f"{room.__name__}.{file.name}") for file in iter_modules(room.__path__)]
    by_name: dict[str, tuple[Measurement, ModuleType]] = {}
    for module in modules:
        measurement = _of(module)
        if measurement.name in by_name:
            other = by_name[measurement.name][1]
            raise InputError(
                f"there are two measurements called {measurement.name!r}",
                where=f"{_file(other)} and {_file(module)}",
                fix="Give one of them another name.",
            )
        by_name[measurement.name] = measurement, module
    return tuple(by_name[name][0] for name in sorted(by_name))


def _of(module: ModuleType) -> Measurement:
    measurement: Any = getattr(module, OBJECT, None)
    if isinstance(measurement, Measurement):
        missing = _missing(measurement)
        if missing is None:
            return measurement
    else:
        missing = f"{OBJECT}, a Measurement"
    raise InputError(
        f"the file is no subcommand of `cai evaluate`: it lacks {missing}",
        where=_file(module),
        fix=f'Write {OBJECT} = Measurement("NAME", function), with a docstring in the function.',
    )


def _missing(measurement: Measurement) -> str | None:
    """Say what a measurement lacks, or return None. Files are written by others: types are not taken for granted."""
    if not measurement.name:
        return "a name"
    if not callable(measurement.command):
        return "a function to call"
    if not (measurement.command.__doc__ or "").strip():
        return "a docstring, which is its help"
    return None


def _file(module: ModuleType) -> str:
    return str(module.__file__)
