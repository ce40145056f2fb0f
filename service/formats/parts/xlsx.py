"""XLSX files: rows written as one sheet. `critic.files.containers.sheets` reads them.

What is written is the same to the byte for the same rows, and no text becomes a formula.
"""

import re
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from xml.sax.saxutils import escape, quoteattr

# Excel's own limits.
MOST_ROWS, LONGEST_CELL = 2**20, 32_767  # rows of a sheet; UTF-16 units of a cell
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no character of XML 1.0
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_BOOK_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
_SHEET = "xl/worksheets/sheet1.xml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_PARTS = {
    "[Content_Types].xml": f"{_HEAD}<Types xmlns={quoteattr(_PACKAGE + '/content-types')}>"
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_BOOK_TYPE}"/>'
    f'<Override PartName="/{_SHEET}" ContentType="{_SHEET_TYPE}"/></Types>',
    "_rels/.rels": f"{_HEAD}<Relationships xmlns={quoteattr(_PACKAGE + '/relationships')}>"
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="rows" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f"{_HEAD}<Relationships xmlns={quoteattr(_PACKAGE + '/relationships')}>"
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
_ESCAPED = {"\r": "&#13;"}  # XML reads a bare one as a line end
_LIKE_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")  # text that would be read as a character's number


Cell = str | int | float | bool | None


class XlsxWriter:
    """Writes rows of one sheet, to be used in a ``with``; the first names the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        packed = self._stack.enter_context(zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED))
        for name, text in _PARTS.items():
            packed.writestr(_member(name), text)
        self._sheet: IO[bytes] = self._stack.enter_context(packed.open(_member(_SHEET), "w", force_zip64=True))
        self._sheet.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._sheet.write(b"</sheetData></worksheet>")
        self._stack.close()

    def write(self, cells: Sequence[Cell]) -> str | None:
        """Write a row. Return why a sheet can't hold it, where it can't: then nothing is written."""
        if self._rows == MOST_ROWS:
            return "too_many_rows"
        if any(len(cell.encode("utf-16-le", "surrogatepass")) > 2 * LONGEST_CELL for cell in _texts(cells)):
            return "long_cell"
        if any(_UNWRITABLE.search(cell) for cell in _texts(cells)):
            return "characters"
        self._sheet.write(f"<row>{''.join(map(_cell, cells))}</row>".encode())
        self._rows += 1
        return None


def _member(name: str) -> zipfile.ZipInfo:
    """Return a member that was made at no time, so that equal rows give equal files."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _texts(cells: Sequence[Cell]) -> list[str]:
    return [cell for cell in cells if isinstance(cell, str)]


def _cell(cell: Cell) -> str:
    if cell is None:
        return "<c/>"
    if isinstance(cell, bool):
        return f'<c t="b"><v>{cell:d}</v></c>'
    if isinstance(cell, str):
        text = escape(_LIKE_ESCAPED.sub("_x005F_", cell), _ESCAPED)
        return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f"<c><v>{cell!r}</v></c>"
