"""File formats: people's and models' feedback in, data sets out.

A format is one file here with a subclass of `service.formats.base.Format` that has a ``name``: it says whose format
it is, what it reads, which tables feed the columns that it writes, and what is lost. Its fields are its options. It is
found by being here, and the contract tests run over `FORMATS`.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from pydantic import ValidationError

from base.errors import InputError
from base.nearest import perhaps
from critic.files.row_prompt import readable
from service.formats.base import Format


def _formats() -> Iterator[type[Format]]:
    """Yield the formats of each file of this folder and its rooms."""
    for module in walk_packages(__path__, f"{__name__}."):
        here = vars(import_module(module.name)).values()
        for value in here:
            is_format = isinstance(value, type) and issubclass(value, Format) and "name" in vars(value)
            if is_format and value.__module__ == module.name:
                yield value


FORMATS: dict[str, type[Format]] = {
    format.name: format for format in sorted(_formats(), key=lambda format: format.name)
}


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
