"""File formats: people's and models' feedback in, data sets out.

A format is one file here with a subclass of `service.formats.base.Format` that has a ``name``: it says whose format
it is, what it reads, which tables feed the columns that it writes, and what is lost. Its fields are its options. It is
found by being here, and the contract tests run over `FORMATS`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from base.errors import InputError
from base.nearest import perhaps
from base.plugins import by_name, imported
from critic.files.row_prompt import readable
from service.formats.base import Format

_SHARED = (f"{__name__}.base", f"{__name__}.parts.")
"""What formats share, and is none."""


def _formats() -> Iterator[tuple[str, str, type[Format]]]:
    """Yield the formats of each file with their names and places. Raises `InputError` for a file without one."""
    for module in imported(__name__, __path__, rooms=True):
        place = module.__name__
        own = [value for value in vars(module).values() if _is_format(value) and value.__module__ == place]
        if not own and not hasattr(module, "__path__") and not place.startswith(_SHARED):
            fix = "A class is expected that derives from Format and has a name"
            raise InputError("it holds no file format", where=place, fix=fix)
        for form in own:
            _complete(form)
            yield form.name, place, form


def _is_format(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Format) and "name" in vars(value)


def _complete(form: type[Format]) -> None:
    """Raise `InputError` for a format that lacks something."""
    if not getattr(form, "title", ""):
        lacking = "a title"
    elif not form.reads and not form.tables:
        lacking = "what it reads, and the tables that it writes"
    else:
        return
    where = f"{form.__module__}.{form.__qualname__}"
    raise InputError(
        f"the file format {form.name!r} lacks {lacking}", where=where, fix="See service.formats.base.Format."
    )


FORMATS: dict[str, type[Format]] = dict(sorted(by_name("a file format", _formats()).items()))


def format_of(name: str, options: Mapping[str, Any] | None = None) -> Format:
    """Return the format ``name`` with its options. Raises `InputError` for unknown ones."""
    if name not in FORMATS:
        fix = f"{perhaps(name, FORMATS)}Known formats: {', '.join(FORMATS)}."
        raise InputError(f"there is no format {name!r}", where="format", fix=fix)
    try:
        return FORMATS[name].model_validate(options or {})
    except ValidationError as error:
        known = ", ".join(FORMATS[name].model_fields) or "none"
        raise InputError(readable(error), where=f"format {name}", fix=f"Options of {name}: {known}.") from None
