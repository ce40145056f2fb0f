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


def _formats() -> Iterator[tuple[str, str, type[Format]]]:
    """Yield the formats of each file of this folder and its rooms, with their names and places."""
    for module in imported(__name__, __path__, rooms=True):
        for value in vars(module).values():
            is_format = isinstance(value, type) and issubclass(value, Format) and "name" in vars(value)
            if is_format and value.__module__ == module.__name__:
                yield value.name, module.__name__, value


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
