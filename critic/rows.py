"""Rows as an input has them: names and values, or what is wrong with a row; and how a line becomes one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO


class Twice(dict[str, Any]):
    """An object of JSON in which a key stands twice: which value is meant, nobody knows. The last is here."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.key = next(name for name in names if names.count(name) > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Twice(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def from_json(text: str) -> Any:
    """As json.loads, with `Twice` for objects that are. Raises json.JSONDecodeError, ValueError and RecursionError."""
    if text[:1] not in '{["':  # white space, perhaps
        return _DECODER.decode(text)
    # Most lines are one value from the first character to the last: `decode` looks for spaces around it, too.
    value, end = _DECODER.raw_decode(text)
    return value if end == len(text) else _DECODER.decode(text)


LINE_BYTES = 64 * 2**20  # a longer line is refused, so that a file without line ends can't fill the memory


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as the input has it: column names and values."""

    where: str
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """One row that can't be read."""

    where: str
    reason: str
    detail: str


class RowError(Exception):
    """A row that can't be used, with a short reason that reports count, and what was expected."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


Unread = Callable[[], Raw | Broken]
Parse = Callable[[bytes, str], Raw | Broken]


@dataclass(frozen=True, slots=True)
class OpenInput:
    """An open input. ``columns`` is what a table's header names, and None where each row has its own keys.

    ``unread`` has a function a row, which reads it: to step over rows costs little more than to find where they end.
    """

    name: str
    columns: tuple[str, ...] | None
    unread: Iterator[Unread]

    @property
    def rows(self) -> Iterator[Raw | Broken]:
        """Every row, read."""
        return (read() for read in self.unread)


def each_line(file: BinaryIO, name: str, parse: Parse) -> Iterator[Unread]:
    """Yield each line that isn't blank, for ``parse`` to read."""
    for number, line in lines(file):
        yield partial(parse_line, parse, line, name, number)


def parse_line(parse: Parse, line: bytes, name: str, number: int) -> Raw | Broken:
    """Read one line."""
    return parse(line, f"{name}:{number}")


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) for every line that isn't blank; an overlong one comes cut."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        if number == 0 and b"\r" in line.rstrip(b"\r\n") and not line.endswith(b"\n"):
            yield from _of_old_ends(line)
            return
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > LINE_BYTES:
            rest = file.readline(LINE_BYTES + 1)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _of_old_ends(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that has no other line ends than CR, as old machines and some spreadsheets write."""
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\r"), 1):
        if line.strip():
            yield number, line


def json_line(line: bytes, where: str) -> Raw | Broken:
    """Read a line. A string is a prompt, a list its messages, an object its columns."""
    text = _decoded(line, where)
    if isinstance(text, Broken):
        return text
    try:
        value = from_json(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.doc[error.pos :].strip() == ",":
            return Broken(
                where, "broken_line", "a comma follows the row: in JSON Lines none does, and in JSON an array begins"
            )
        return Broken(where, "broken_line", f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos}")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets 100,000 deep
        return Broken(where, "broken_line", f"not JSON that can be read: {error}")
    return json_row(value, where)


def json_row(value: object, where: str) -> Raw | Broken:
    """Read a value of JSON, as `json_line` does."""
    if isinstance(value, Twice):
        return Broken(where, "same_key", f"two values stand under {value.key[:40]!r}; keep the one that is meant")
    if isinstance(value, dict):
        return Raw(where, value)
    if isinstance(value, str):
        return Raw(where, {"prompt": value})
    if isinstance(value, list):
        return Raw(where, {"messages": value})
    return Broken(where, "broken_line", "a row is an object, a string or a list of messages")


def text_line(line: bytes, where: str) -> Raw | Broken:
    """Read a line that is a prompt."""
    text = _decoded(line, where)
    return text if isinstance(text, Broken) else Raw(where, {"prompt": text})


def _decoded(line: bytes, where: str) -> str | Broken:
    if len(line) > LINE_BYTES:
        return Broken(where, "too_long", f"the line is longer than {LINE_BYTES:,} bytes; expected one row a line")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        return Broken(where, "not_utf8", f"byte {error.start} of the line isn't UTF-8; save the file as UTF-8")
