"""Judge modes, one file each: a class like `critic.judging.base.Mode`, found by being here."""

from collections.abc import Iterator

from base.errors import InputError
from base.plugins import by_name, imported
from critic.judging.base import Mode


def _modes() -> Iterator[tuple[str, str, type[Mode]]]:
    """Yield the modes of each file with their names and places. Raises `InputError` for a file without one."""
    for module in imported(__name__, __path__):
        place = module.__name__
        own = [value for value in vars(module).values() if _is_mode(value) and value.__module__ == place]
        if not own:
            raise InputError(
                "it holds no judge mode", where=place, fix="A class is expected that derives from Mode and has a name"
            )
        yield from [(mode.name, place, mode) for mode in own]


def _is_mode(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Mode) and "name" in vars(value)


MODES: dict[str, type[Mode]] = by_name("a judge mode", _modes())
