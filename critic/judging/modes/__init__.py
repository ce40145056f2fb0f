"""Judge modes, one file each: a class like `critic.judging.base.Mode`, found by being here."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from base.errors import InputError
from critic.judging.base import Mode


def _modes() -> Iterator[type[Mode]]:
    """Yield the mode of each file of this folder. Raises `InputError` for a file without one."""
    for module in iter_modules(__path__):
        place = f"{__name__}.{module.name}"
        own = [value for value in vars(import_module(place)).values() if _is_mode(value) and value.__module__ == place]
        if not own:
            raise InputError(
                "it holds no judge mode", where=place, fix="A class is expected that derives from Mode and has a name"
            )
        yield from own


def _is_mode(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Mode) and "name" in vars(value)


def _by_name() -> dict[str, type[Mode]]:
    """Return the modes by their names. Raises `InputError` for two of one name."""
    known: dict[str, type[Mode]] = {}
    for mode in _modes():
        if mode.name in known:
            raise InputError(
                f"there is a judge mode {mode.name!r} already", where=mode.__module__, fix="name it otherwise"
            )
        known[mode.name] = mode
    return known


MODES: dict[str, type[Mode]] = _by_name()
