"""The rows of an XLSX file's first sheet, as a stream of texts."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from constitution.errors import InputError
from critic.run.sources import Broken, Raw

UNPACKED = 2**29  # bytes: a larger file is refused, whatever its packed size
BLANKS = 10_000  # blank rows at a stretch: a row's number is the file's to choose, and the gap before it is walked


def xlsx_rows(path: Path) -> Iterator[Raw | Broken]:
    """Return the rows below the first, which names the columns. Blank ones are no rows.

    Cells come as text, formulas with their last values. Raises `InputError` where the file can't be used.
    """
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > UNPACKED:
            raise InputError(f"unpacked it has {size:,} bytes; the limit is {UNPACKED:,}", where=path.name)
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
    except InputError:
        raise
    except Exception as error:  # openpyxl raises whatever its readers do, for a file that a person gave
        raise InputError(f"not an XLSX file: {error}", where=path.name) from None
    return _rows(book, sheet, path.name)


def _rows(book: Any, sheet: Any, name: str) -> Iterator[Raw | Broken]:
    header: list[str] | None = None
    number, blanks = 0, 0
    try:
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            texts = [_text(cell) for cell in cells]
            blanks = 0 if any(texts) else blanks + 1
            if blanks > BLANKS:
                raise InputError(f"more than {BLANKS:,} blank rows in a stretch", where=f"{name}:{number}")
            if header is None:
                header = [text or "" for text in texts]
            elif not blanks:
                yield Raw(f"{name}:{number}", {n: text for n, text in zip(header, texts, strict=False) if text})
    except InputError:
        raise
    except Exception as error:  # likewise
        raise InputError(f"broken after row {number}: {error}", where=name) from None
    finally:
        book.close()


def _text(cell: Any) -> str | None:
    """Return a cell as a person reads it."""
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
