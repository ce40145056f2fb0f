"""What every importer returns, and the few things that they share."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from base.errors import InputError
from constitution.positions import YamlError, read_yaml
from constitution.schema import Constitution, Principle


@dataclass(frozen=True, slots=True)
class LeftOutPart:
    """Something in the source that the constitution doesn't hold as it was: what, how many of it, and why."""

    what: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A constitution, and what of its source it doesn't hold."""

    constitution: Constitution
    left_out: tuple[LeftOutPart, ...]


class Reader(Protocol):
    """Read ``sources`` and build a constitution of that name and version. Raises InputError."""

    def __call__(self, sources: Sequence[Path], *, name: str, version: str) -> Imported: ...


def build(name: str, version: str, *, title: str, summary: str, principles: Sequence[Principle]) -> Constitution:
    """Make the constitution. InputError where the name or the version is not well formed."""
    try:
        return Constitution(
            name=name,
            version=version,
            title=title,
            summary=summary,
            license="not stated by the source",
            language="en",
            principles=tuple(principles),
        )
    except ValidationError as error:
        raise _input_error(error, "") from None


def principle(where: str, **fields: Any) -> Principle:
    """Make one principle. InputError, at ``where``, for text that a principle can't hold."""
    try:
        return Principle(**fields)
    except ValidationError as error:
        raise _input_error(error, where) from None


def _input_error(error: ValidationError, where: str) -> InputError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    problem = first["msg"].removeprefix("Value error, ")
    return InputError(f"{key}: {problem}" if key else problem, where=where)


def read_bytes(source: Path) -> bytes:
    """Read a file; InputError where that fails."""
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(f"the file can't be read: {error.strerror}", where=str(source)) from None


def read_json(source: Path) -> Any:
    """Read a JSON file; InputError with its line where it is broken."""
    try:
        return json.loads(read_bytes(source))
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", where=f"{source}:{error.lineno}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=str(source)) from None


def read_yaml_or_json(source: Path) -> Any:
    """Read a file by its suffix: ``.json``, or else YAML."""
    if source.suffix == ".json":
        return read_json(source)
    try:
        return read_yaml(read_bytes(source)).data
    except YamlError as error:
        raise InputError(error.problem, where=f"{source}:{error.line}") from None


def slug(text: str) -> str:
    """Return the nearest thing to ``text`` that may be an id; empty where it has no letters or digits."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def headline(text: str, limit: int = 72) -> str:
    """Return the first words of ``text``, at most ``limit`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3].rsplit(" ", 1)[0] + " ..."
