"""Delimited text (CSV and its kin): the header tells the separator, or a first line names it as in Excel's files."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from typing import IO, Any, BinaryIO

from base.errors import InputError
from critic.files.containers.nested import refuse_lists
from critic.rows import LINE_BYTES, Broken, OpenInput, Raw, RowError, Unread

SEPARATORS = ",;\t|"
_NAMED = re.compile(r'"?sep=(.)"?\s*')  # what Excel reads, and leaves out, as a first line
_QUOTED = re.compile(r'"(?:[^"]|"")*"')

NO_VALUE = frozenset(("", "nan", "NaN", "<NA>"))
"""Cells without a value: empty, or as pandas writes one that is missing. As an answer it would be learnt from."""

_Record = tuple[int, list[str] | csv.Error]


@contextmanager
def as_cells(file: BinaryIO) -> Iterator[IO[str]]:
    """Give a file's text as `delimited` wants it: with its line ends, and with a trace of what is no UTF-8."""
    text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # whoever opened the file closes it


def delimited(text: IO[str], name: str) -> OpenInput:
    """Read a table with a header. ``text`` is read on while the rows are."""
    csv.field_size_limit(LINE_BYTES)  # the library's own limit, 131,072, is less than a long prompt
    number, first = _first_line(text)
    if named := _NAMED.fullmatch(first):
        number, first, separator = number + 1, text.readline(), named[1]
    else:
        separator = separator_of(first)
    records = _records(text, first, separator, number)
    line, header = next(records, (0, None))
    if header is None:
        return OpenInput(name, None, iter(()))
    if isinstance(header, csv.Error):
        raise InputError(f"the header can't be read: {header}", where=f"{name}:{line}")
    names = [cell.strip() for cell in header]
    return OpenInput(name, tuple(names), _rows(names, records, name))


def separator_of(header: str) -> str:
    """Return the separator that stands most often in a header, quotes apart; the comma where none does."""
    bare = _QUOTED.sub("", header)
    return max(SEPARATORS, key=bare.count)


def _first_line(file: IO[str]) -> tuple[int, str]:
    """Return the number and text of the first line that isn't blank."""
    number = 1
    while (line := file.readline(LINE_BYTES)) and not line.strip():
        number += 1
    return number, line


def _rows(header: list[str], records: Iterator[_Record], name: str) -> Iterator[Unread]:
    for line, cells in records:
        yield partial(_row, header, cells, name, line)


def _row(header: list[str], cells: list[str] | csv.Error, name: str, line: int) -> Raw | Broken:
    where = f"{name}:{line}"
    if isinstance(cells, csv.Error):
        return Broken(where, "broken_line", f"not CSV: {cells}; look for a quote that isn't closed or doubled")
    if len(cells) != len(header):
        return Broken(where, "broken_line", f"{len(cells)} cells where the header names {len(header)}")
    for cell in cells:
        if not cell.isascii() and not _is_text(cell):
            return Broken(where, "not_utf8", "a cell isn't UTF-8; save the file as UTF-8")
    # An empty cell says nothing, but its column is there: a missing label is not a missing column of labels.
    values = (None if cell in NO_VALUE else cell for cell in cells)
    return row_of_texts(where, dict(zip(header, values, strict=True)))


def row_of_texts(where: str, columns: dict[str, Any]) -> Raw | Broken:
    """Return a row of a file that knows texts alone."""
    try:
        refuse_lists(columns)
    except RowError as error:
        return Broken(where, error.reason, error.detail)
    return Raw(where, columns)


def _is_text(cell: str) -> bool:
    """Whether no byte that is no UTF-8 left its trace in a cell."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _records(file: IO[str], first: str, separator: str, number: int) -> Iterator[_Record]:
    """Yield (number of the first line, cells). After a broken record, go on with the line after its first.

    So a quote that is never closed costs its own line, not the rest of the file.
    """
    ahead: deque[str] = deque([first] if first else [])
    taken: list[str] = []

    def feed() -> Iterator[str]:
        while line := ahead.popleft() if ahead else file.readline(LINE_BYTES):
            taken.append(line)
            yield line

    def reader() -> Iterator[list[str]]:
        return csv.reader(feed(), strict=True, delimiter=separator)

    records = reader()
    while True:
        taken.clear()
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            records = reader()  # the old one is in the middle of a record
            ahead.extendleft(reversed(taken[1:]))
            yield number, error
            number += 1
        else:
            if any(cells):
                yield number, cells
            number += len(taken)
