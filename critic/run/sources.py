"""Where a run's input comes from: a file, standard input or a dataset, opened as a stream of raw rows.

Nothing here knows what a prompt is: see `critic.run.inputs`. Memory does not grow with the input, except for ``.json``,
which is read whole.
"""

import csv
import json
import re
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader, RawIOBase
from itertools import islice
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from constitution.errors import InputError
from critic.run.remote import open_remote, while_connected, without_secrets

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

FORMATS = ".jsonl .ndjson .json .csv .parquet .txt"
LINE_BYTES = 64 * 2**20  # a longer line is refused, so that a file without line ends can't fill the memory
PARQUET_BATCH = 64  # rows in memory at once; rows of 1 MB are expected
MAGIC = (b"\x1f\x8b", b"PK\x03\x04", b"\x89PNG", b"\xff\xfe", b"\xfe\xff")  # gzip, zip, png, UTF-16
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(?::(?P<split>[\w.]+))?")


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


Unread = Callable[[], Raw | Broken]


@dataclass(frozen=True, slots=True)
class Source:
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


def open_source(source: str) -> Source:
    """Open a path, ``-`` (standard input), a folder of ``datasets.save_to_disk`` or a hub id ``OWNER/NAME[:SPLIT]``.

    Or a file's address on any file system that fsspec knows, as ``s3://BUCKET/prompts.jsonl``.
    Raises `InputError` where the whole input can't be used: missing, binary, of an unknown format.
    """
    if source == "-":
        return Source("stdin", None, _stdin(sys.stdin.buffer))
    if "://" in source:
        opened = open_remote(source, _file)
        return replace(opened, unread=while_connected(opened.unread, opened.name))
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _folder(path, None)
        if path.is_file():
            return _file(path)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror or error}", where=source) from None
    folder, _, split = source.rpartition(":")
    if folder and Path(folder).expanduser().is_dir():
        return _folder(Path(folder).expanduser(), split)
    if HUB_ID.fullmatch(source) and path.suffix not in FORMATS.split():
        return _hub(source)
    raise InputError("no such file or folder", where=source, fix=f"Give a file ({FORMATS}), a dataset, or - for stdin.")


def _file(path: "AnyPath") -> Source:
    name = path.name.encode("utf-8", "replace").decode()
    if not isinstance(path, Path):
        name = without_secrets(f"://{name}").removeprefix("://")
    suffix = PurePath(name).suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, name)
    if suffix not in FORMATS.split():
        raise InputError(f"unknown format {suffix!r}", where=name, fix=f"Formats are told by the ending: {FORMATS}.")
    _refuse_binary(path, name)
    if suffix == ".csv":
        return _csv(path, name)
    if suffix == ".json":
        return _json(path, name)
    return Source(name, None, _opened(path, name, _text_line if suffix == ".txt" else _json_line))


def _opened(path: "AnyPath", name: str, parse: Callable[[bytes, str], Raw | Broken]) -> Iterator[Unread]:
    """Yield each line that isn't blank, for ``parse`` to read."""
    with path.open("rb") as file:
        # Not every file system's files read lines up to a length.
        for number, line in _lines(file if isinstance(path, Path) else BufferedReader(cast(RawIOBase, file))):
            yield partial(_parsed, parse, line, name, number)


def _parsed(parse: Callable[[bytes, str], Raw | Broken], line: bytes, name: str, number: int) -> Raw | Broken:
    return parse(line, f"{name}:{number}")


def _refuse_binary(path: "AnyPath", name: str) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    nuls = head.count(0)
    if head.startswith(MAGIC) or nuls > len(head) // 10 or (nuls and not _is_utf8(head)):
        raise InputError("this is binary data, not UTF-8 text", where=name, fix="Unpack it, or save it as UTF-8.")


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # the block may end inside a character
    return True


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) for every line that isn't blank; an overlong one comes cut."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > LINE_BYTES:
            rest = file.readline(LINE_BYTES + 1)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _decoded(line: bytes, where: str) -> str | Broken:
    if len(line) > LINE_BYTES:
        return Broken(where, "too_long", f"the line is longer than {LINE_BYTES:,} bytes; expected one row a line")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        return Broken(where, "not_utf8", f"byte {error.start} of the line isn't UTF-8; save the file as UTF-8")


def _json_line(line: bytes, where: str) -> Raw | Broken:
    """Read a line. A string is a prompt, a list its messages, an object its columns."""
    text = _decoded(line, where)
    if isinstance(text, Broken):
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Broken(where, "broken_line", f"not JSON: {error.msg} at character {error.pos}")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets 100,000 deep
        return Broken(where, "broken_line", f"not JSON that can be read: {error}")
    return _row(value, where)


def _row(value: object, where: str) -> Raw | Broken:
    if isinstance(value, dict):
        return Raw(where, value)
    if isinstance(value, str):
        return Raw(where, {"prompt": value})
    if isinstance(value, list):
        return Raw(where, {"messages": value})
    return Broken(where, "broken_line", "a row is an object, a string or a list of messages")


def _text_line(line: bytes, where: str) -> Raw | Broken:
    """Read a line that is a prompt."""
    text = _decoded(line, where)
    return text if isinstance(text, Broken) else Raw(where, {"prompt": text})


def _stdin(file: BinaryIO) -> Iterator[Unread]:
    """Read JSON Lines if the first line is an object or is JSON, else a prompt a line."""
    parse: Callable[[bytes, str], Raw | Broken] | None = None
    for number, line in _lines(file):
        if parse is None:
            is_json = line.lstrip().startswith(b"{") or isinstance(_json_line(line, ""), Raw)
            parse = _json_line if is_json else _text_line
        yield partial(_parsed, parse, line, "stdin", number)


def _json(path: "AnyPath", name: str) -> Source:
    """Read an array, an object with ``rows`` or ``data``, or one object; or JSON Lines under this ending."""
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} isn't UTF-8", where=name, fix="Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and isinstance(
            _json_line(error.doc.lstrip().partition("\n")[0].encode(), ""), Raw
        ):
            return Source(name, None, _opened(path, name, _json_line))
        if not error.doc.strip():
            return Source(name, None, iter(()))
        raise InputError(f"not JSON: {error.msg}", where=f"{name}:{error.lineno}:{error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON that can be read: {error}", where=name) from None
    if isinstance(value, dict):
        value = next((value[key] for key in ("rows", "data") if isinstance(value.get(key), list)), [value])
    if not isinstance(value, list):
        raise InputError("expected an array of rows, or an object with rows", where=name)
    return Source(name, None, (partial(_row, row, f"{name}:row {i}") for i, row in enumerate(value)))


def _csv(path: "AnyPath", name: str) -> Source:
    csv.field_size_limit(LINE_BYTES)  # the library's own limit, 131,072, is less than a long prompt
    with closing(_csv_records(path)) as records:
        _, header = next(records, (0, None))
    if header is None:
        return Source(name, None, iter(()))
    if isinstance(header, csv.Error):
        raise InputError(f"the header can't be read: {header}", where=f"{name}:1")
    rows = (partial(_csv_row, header, cells, name, line) for line, cells in islice(_csv_records(path), 1, None))
    return Source(name, tuple(header), rows)


def _csv_row(header: list[str], cells: list[str] | csv.Error, name: str, line: int) -> Raw | Broken:
    where = f"{name}:{line}"
    if isinstance(cells, csv.Error):
        return Broken(where, "broken_line", f"not CSV: {cells}; look for a quote that isn't closed or doubled")
    if len(cells) != len(header):
        return Broken(where, "broken_line", f"{len(cells)} cells where the header names {len(header)}")
    if any("\udc80" <= c <= "\udcff" for cell in cells if not cell.isascii() for c in cell):
        return Broken(where, "not_utf8", "a cell isn't UTF-8; save the file as UTF-8")
    return Raw(where, {column: cell for column, cell in zip(header, cells, strict=True) if cell})


def _csv_records(path: "AnyPath") -> Generator[tuple[int, list[str] | csv.Error], None, None]:
    """Yield (number of the first line, cells). After a broken record, go on with the line after its first.

    So a quote that is never closed costs its own line, not the rest of the file.
    """
    ahead: deque[str] = deque()
    taken: list[str] = []

    def feed(file: IO[str]) -> Iterator[str]:
        while line := ahead.popleft() if ahead else file.readline():
            taken.append(line)
            yield line

    number = 1
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        while True:
            taken.clear()
            try:
                cells = next(csv.reader(feed(file), strict=True))
            except StopIteration:
                return
            except csv.Error as error:
                ahead.extendleft(reversed(taken[1:]))
                yield number, error
                number += 1
            else:
                if any(cells):
                    yield number, cells
                number += len(taken)


def _parquet(path: "AnyPath", name: str) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path if isinstance(path, Path) else path.open("rb"))
        columns = file.schema_arrow.names
    except pa.ArrowException as error:
        raise InputError(f"not a Parquet file: {str(error).splitlines()[0]}", where=name) from None

    def rows() -> Iterator[Unread]:
        number = 0
        with file:
            batches = file.iter_batches(PARQUET_BATCH)
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError) as error:
                    raise InputError(f"broken after row {number}: {error}", where=name) from None
                if batch is None:
                    return
                for i in range(batch.num_rows):
                    yield partial(_parquet_row, batch, i, f"{name}:row {number}")
                    number += 1

    return Source(name, tuple(columns), rows())


def _parquet_row(batch: Any, row: int, where: str) -> Raw | Broken:
    """Turn one row of a batch to Python. Parquet does not check that its strings are UTF-8."""
    try:
        return Raw(where, batch.slice(row, 1).to_pylist()[0])
    except UnicodeDecodeError:
        return Broken(where, "not_utf8", "a value isn't UTF-8")


def _folder(path: Path, split: str | None) -> Source:
    if not any((path / file).is_file() for file in ("dataset_info.json", "dataset_dict.json")):
        raise InputError("the folder holds no dataset", where=str(path), fix="Give a file, or what save_to_disk wrote.")
    import datasets

    try:
        data = datasets.load_from_disk(str(path))
    except Exception as error:  # the library raises whatever its readers do, for a folder that a person named
        raise InputError(f"the dataset can't be loaded: {_brief(error)}", where=str(path)) from None
    if isinstance(data, datasets.DatasetDict):
        wanted = split or ("train" if "train" in data or len(data) != 1 else next(iter(data)))
        if wanted not in data:
            fix = f"Add the split's name, as {path.name}:{next(iter(data), 'train')}."
            raise InputError(f"no split {wanted!r} among {', '.join(data)}", where=str(path), fix=fix)
        data = data[wanted]
    elif split is not None:
        raise InputError(f"the dataset has no splits, so no {split!r}", where=str(path))
    return _dataset(path.name, data)


def _hub(source: str) -> Source:
    import datasets

    name, _, split = source.partition(":")
    try:
        data = datasets.load_dataset(name, split=split or "train", streaming=True)
        return _dataset(name, data)
    except InputError:
        raise
    except Exception as error:  # likewise, network errors of several libraries among them
        problem = f"no such file, and the hub gives no dataset of that name: {_brief(error)}"
        raise InputError(problem, where=source, fix=f"Give a file ({FORMATS}) or OWNER/NAME[:SPLIT].") from None


def _dataset(name: str, data: Any) -> Source:
    rows = (partial(Raw, f"{name}:row {i}", row) for i, row in enumerate(data))
    return Source(name, None if data.column_names is None else tuple(data.column_names), rows)


def _brief(error: Exception) -> str:
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
