"""Excel's workbooks (XLSX): the rows of one sheet as a stream, each cell as the text that a person reads.

The first row that names a column that is read is the header: titles and blank rows may stand above it. Of several
sheets the one with such a header is read; where several have one, a person says which. A formula counts with the value
that it had when the file was saved. What has no value, or an error, is no text: it costs its row, where it is read.
"""

import re
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import datetime, time
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from base.errors import InputError
from critic.files.containers.delimited import NO_VALUE, row_of_texts
from critic.files.containers.packed import MOST_RATIO
from critic.files.containers.unchanged import unchanged
from critic.files.naming import EVERYTHING, Naming
from critic.files.shapes import is_read
from critic.rows import Broken, OpenInput, Raw, Unread

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

UNPACKED = 2**29  # bytes: a larger file is refused, whatever its packed size
PACKED_WELL = 2**26  # bytes; a larger file that is packed better than texts are was made to fill a memory
BLANKS = 10_000  # blank rows at a stretch: a row's number is the file's to choose, and the gap before it is walked
ABOVE = 20  # rows that may stand above the header
_BLOCK = 2**20  # bytes
_FORMULA = re.compile(rb"<f[ />]")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")  # a character that XML can't hold, as Excel writes it
_ERROR, _FORMULA_TYPE = "e", "f"

_Cells = tuple[str | None, ...]


class _Row(NamedTuple):
    """A row's number, its texts, and what is wrong with some of its cells, by their position."""

    number: int
    texts: _Cells
    bad: dict[int, str]


def sheet_rows(path: "AnyPath", name: str, naming: Naming, sheet: str | None = None) -> OpenInput:
    """Open a workbook. Raises `InputError` where it can't be used, or where nothing says which sheet is meant."""
    book = _open(path, name)
    try:
        wanted = _wanted(path, book, name, naming, sheet)
    finally:
        book.close()
    if wanted is None:
        return OpenInput(name, None, iter(()))
    title, header = wanted
    return OpenInput(
        name, tuple((text or "").strip() for text in header.texts), _rows(path, name, naming, title, header)
    )


def _open(path: "AnyPath", name: str, values: bool = True) -> Any:
    """Open a workbook, with the values of its formulas or with these themselves. Raises `InputError`."""
    from openpyxl import load_workbook

    unpacked_bytes(path, name)
    try:
        return load_workbook(path if isinstance(path, Path) else path.open("rb"), read_only=True, data_only=values)
    except Exception as error:  # openpyxl raises whatever its readers do, for a file that a person gave
        raise InputError(f"not an XLSX file: {error}", where=name) from None


def unpacked_bytes(path: "AnyPath", name: str) -> int:
    """Return how many bytes a workbook has when it is unpacked, by its directory: no part of it gives more.

    Raises `InputError` where it is none, or has too many.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:  # the third: a newer kind of ZIP
        raise InputError(f"not an XLSX file: {error}", where=name) from None
    size = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    limit = min(UNPACKED, max(PACKED_WELL, MOST_RATIO * packed))
    if size > limit:
        raise InputError(f"unpacked it has {size:,} bytes; the limit is {limit:,}", where=name)
    return size


def _wanted(path: "AnyPath", book: Any, name: str, naming: Naming, sheet: str | None) -> tuple[str, _Row] | None:
    """Return the title of the sheet that is read, and its header; None where all are empty. Raises `InputError`."""
    titles = [one.title for one in book.worksheets]
    if sheet is not None and sheet not in titles:
        raise InputError(f"there is no sheet {sheet!r}", where=name, fix=f"There are: {', '.join(titles)}.")
    headers: dict[str, _Row] = {}
    for one in book.worksheets:
        if sheet in (None, one.title) and (header := _header(_walked(one, None, name), naming)) is not None:
            headers[one.title] = header
    if len(headers) > 1:
        headers = {title: header for title, header in headers.items() if _is_read(header, naming)} or headers
    read = [title for title, header in headers.items() if _is_read(header, naming)]
    if len(read) > 1:
        raise InputError(
            f"several of its sheets can be read: {', '.join(read)}",
            where=name,
            fix=f"Say which, as in {path.name}:{read[0]}; or save it alone.",
        )
    return next(iter(headers.items()), None)


def _header(rows: Generator[_Row, None, None], naming: Naming) -> _Row | None:
    """Return the header: the first row that names a column that is read, or else the first that isn't blank."""
    first: _Row | None = None
    seen = 0
    with closing(rows):
        for row in rows:
            if not any(row.texts):
                continue
            first = first or row
            if _is_read(row, naming):
                return row
            seen += 1
            if seen > ABOVE:
                break
    return first


def _is_read(header: _Row, naming: Naming) -> bool:
    # Where all names are read, those of this project's shapes tell a header from a title.
    telling = Naming(is_read) if naming is EVERYTHING else naming
    try:
        return bool(telling.of_table([text or "" for text in header.texts], ""))
    except InputError:
        return False


def _rows(path: "AnyPath", name: str, naming: Naming, title: str, header: _Row) -> Iterator[Unread]:
    names = [(text or "").strip() for text in header.texts]
    read = _read(names, naming)
    with ExitStack() as stack:
        stack.enter_context(unchanged(path, name))
        sheet, plain = stack.enter_context(closing(_open(path, name)))[title], None
        if _has_formulas(sheet):
            plain = stack.enter_context(closing(_open(path, name, values=False)))[title]
        rows = stack.enter_context(closing(_walked(sheet, plain, name)))
        first = True
        for row in rows:
            if row.number <= header.number or (not any(row.texts) and not row.bad):
                continue
            if first:
                _expect_names(names, row, name)
                first = False
            yield partial(_row, names, read, row, name)


def _read(names: Sequence[str], naming: Naming) -> set[str]:
    try:
        return set(naming.of_table(names, ""))
    except InputError:  # told to whoever opens it, with its place
        return set(names)


def _expect_names(names: Sequence[str], row: _Row, name: str) -> None:
    """Raise `InputError` where the first row has a cell below no name. A first column may have none: rows' numbers."""
    for place, text in enumerate(row.texts):
        if text is not None and place and not (place < len(names) and names[place]):
            raise InputError(
                f"column {_letters(place)} has cells, and no name in the header: it may be merged with another's",
                where=f"{name}:{row.number}",
                fix="Give each column a name of its own, in one row.",
            )


def _letters(place: int) -> str:
    from openpyxl.utils import get_column_letter

    return get_column_letter(place + 1)


def _row(names: Sequence[str], read: set[str], row: _Row, name: str) -> Raw | Broken:
    where = f"{name}:{row.number}"
    for place, problem in row.bad.items():
        if place < len(names) and names[place] in read:
            return Broken(where, "bad_cell", f"{_letters(place)}{row.number} ({names[place]}) {problem}")
    texts = chain(row.texts, repeat(None))
    values = (None if text in NO_VALUE else text for text in texts)
    return row_of_texts(where, {column: value for column, value in zip(names, values, strict=False) if column})


def _has_formulas(sheet: Any) -> bool:
    """Whether a sheet has any: where not, it is walked once."""
    end = b""
    with sheet._get_source() as xml:  # openpyxl's parser says of a formula either what it is or what it came to
        while block := xml.read(_BLOCK):
            if _FORMULA.search(end + block):
                return True
            end = block[-2:]
    return False


def _walked(sheet: Any, plain: Any | None, name: str) -> Generator[_Row, None, None]:
    """Yield the rows. ``plain`` is the same sheet with its formulas, if it has any."""
    sheet.reset_dimensions()
    number, blanks = 0, 0
    try:
        with ExitStack() as stack:  # a walk that is left keeps its file open
            formulas: Iterator[Any] = repeat(())
            if plain is not None:
                plain.reset_dimensions()
                formulas = stack.enter_context(closing(plain.iter_rows()))
            cells_of_rows = stack.enter_context(closing(sheet.iter_rows()))
            for number, (cells, below) in enumerate(zip(cells_of_rows, formulas, strict=False), 1):
                row = _Row(number, tuple(map(_text, cells)), _bad(cells, below))
                blanks = 0 if any(row.texts) or row.bad else blanks + 1
                if blanks > BLANKS:
                    raise InputError(f"more than {BLANKS:,} blank rows in a stretch", where=f"{name}:{number}")
                yield row
    except InputError:
        raise
    except Exception as error:  # likewise
        raise InputError(f"broken after row {number}: {error}", where=name) from None


def _bad(cells: Sequence[Any], formulas: Sequence[Any]) -> dict[int, str]:
    by_place = {place: f"is an error, {cell.value}" for place, cell in enumerate(cells) if cell.data_type == _ERROR}
    for place, cell in enumerate(formulas):
        if cell.data_type == _FORMULA_TYPE and (place >= len(cells) or cells[place].value is None):
            by_place[place] = "is a formula without a value: open the file in a spreadsheet program, and save it"
    return by_place


def _text(cell: Any) -> str | None:
    """Return a cell as a person reads it; None for an empty one."""
    value = cell.value
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return str(value.date())
    return None if value is None else str(value)
