"""Where a run's input comes from: a file, a pipe, standard input or a data set, opened as a stream of raw rows.

Nothing here knows what a prompt is: see `critic.files.inputs`. Memory does not grow with the input, except for
``.json``, which is read whole.
"""

import json
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from base.errors import InputError
from base.hub_client import patient
from critic.files.containers.columnar import by_columns, unwrapped, within
from critic.files.containers.delimited import as_cells, delimited, separator_of
from critic.files.containers.nested import unfolded
from critic.files.containers.packed import PACKED, as_text, ending, open_text, rejoined
from critic.files.containers.sheets import sheet_rows
from critic.files.containers.tables import dataset, parquet
from critic.files.hub import HubAddress, fetched, hub_address, hub_error
from critic.files.naming import EVERYTHING, Naming, NamingError
from critic.files.remote import open_remote, while_connected, without_secrets
from critic.rows import (
    Broken,
    OpenInput,
    Parse,
    Raw,
    RowError,
    Unread,
    each_line,
    from_json,
    json_line,
    json_row,
    lines,
    parse_line,
    text_line,
)

if TYPE_CHECKING:
    from upath import UPath

    AnyPath = Path | UPath

__all__ = ["Broken", "OpenInput", "Raw", "Unread", "open_source", "source_name"]

TEXT, DELIMITED = (".jsonl", ".ndjson", ".json", ".txt"), (".csv", ".tsv")
_ENDINGS = ".jsonl .ndjson .json .csv .tsv .txt .parquet .xlsx"
FORMATS = f"{_ENDINGS}; all but the last two also with {' or '.join(PACKED)} after it"
_OTHERS = {
    (".zip", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar"): "Unpack it: of packed files, .gz and .zst are read.",
    (".arrow", ".feather"): "Give the folder that save_to_disk wrote, or write it as Parquet.",
    (".pkl", ".pickle", ".orc", ".avro", ".h5"): "Write it as Parquet or JSON Lines.",
    (".xls", ".xlsb", ".ods", ".numbers"): "Save it as .xlsx or as CSV.",
    (".yaml", ".yml"): "Write it as JSON, or as JSON Lines.",
}
"""What to do with files of other kinds, by their endings."""
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(?::(?P<split>[\w.]+))?")
PIPE = "pipe"
SHEETS = ".xlsx"
FIRST_ROWS = 20  # of rows with keys of their own, in which a column that a person named must stand once
TRIES = 1  # of what `datasets` asks the hub for, 20 by its default: the hub's client below it tries again, too
_NAME = re.compile(r"[\w.-]+")


def open_source(source: str, naming: Naming = EVERYTHING) -> OpenInput:
    """Open a path, ``-`` (standard input), a folder of ``datasets.save_to_disk`` or a hub id ``OWNER/NAME[:SPLIT]``.

    Or a data set of the hub, or a file of one, as ``hf://OWNER/NAME[/FILE]``, or a file's address on any file system
    that fsspec knows, as ``s3://BUCKET/prompts.jsonl``. ``naming`` says which columns are read, and under which names.
    Raises `InputError` where the whole input can't be used: missing, binary, of an unknown format.
    """
    opened = _open(source, naming)
    if opened.columns is not None:
        naming.of_table(opened.columns, opened.name)
    elif any(naming.given.values()):
        opened = _begins_with(opened, naming)
    return replace(opened, unread=(partial(_named, read, naming) for read in opened.unread))


def _begins_with(opened: OpenInput, naming: Naming) -> OpenInput:
    """Look for the columns that a person named among the first rows. Raises `InputError` where none has one of them.

    So a name that is mistyped is told before every row of the input is refused for it.
    """
    first: list[Unread] = []
    seen: dict[str, None] = {}
    for read in opened.unread:
        first.append(read)
        row = read()
        seen |= {} if isinstance(row, Broken) else dict.fromkeys(row.columns)
        missing = naming.missing(tuple(seen))
        if not missing or len(first) == FIRST_ROWS:
            break
    if seen and missing:
        naming.of_table(tuple(seen), opened.name)  # says so
    return replace(opened, unread=chain(first, opened.unread))


def source_name(source: str) -> str:
    """Return what an input is called in a run's config: a pipe has another number each time."""
    return PIPE if _is_pipe(source) else without_secrets(source)


def _open(source: str, naming: Naming) -> OpenInput:
    if source == "-":
        return OpenInput("stdin", None, _guessed(sys.stdin.buffer, "stdin", naming))
    if (address := hub_address(source)) is not None:
        return _of_card(source, address, naming) if address.file is None else _file(fetched(address), naming)
    if "://" in source:
        opened = open_remote(source, partial(_file, naming=naming))
        return replace(opened, unread=while_connected(opened.unread, opened.name))
    if not source.strip():
        raise InputError("no file is named", where="input", fix=f"Give a file ({FORMATS}), a dataset, or - for stdin.")
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _folder(path, None, naming)
        if path.is_file():
            return _file(path, naming)
        if _is_pipe(source):
            return OpenInput(PIPE, None, _piped(path, naming))
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror or error}", where=source) from None
    folder, _, split = source.rpartition(":")
    if folder.lower().endswith(SHEETS) and (book := Path(folder).expanduser()).is_file():
        return sheet_rows(book, book.name, naming, split)
    if folder and Path(folder).expanduser().is_dir():
        return _folder(Path(folder).expanduser(), split, naming)
    if HUB_ID.fullmatch(source) and ending(source)[0] not in (*TEXT, *DELIMITED, ".parquet", SHEETS):
        return _hub(source, naming)
    problem = "this is a link, and what it leads to isn't there" if path.is_symlink() else "no such file or folder"
    raise InputError(problem, where=source, fix=f"Give a file ({FORMATS}), a dataset, or - for stdin.")


def _is_pipe(source: str) -> bool:
    with suppress(OSError):
        return Path(source).expanduser().is_fifo()
    return False


def _named(read: Unread, naming: Naming) -> Raw | Broken:
    row = read()
    if isinstance(row, Broken):
        return row
    try:
        named = unfolded(naming.of_row(row.columns))
    except NamingError as error:
        return Broken(row.where, "bad_columns", str(error))
    except RowError as error:
        return Broken(row.where, error.reason, error.detail)
    return row if named is row.columns else Raw(row.where, named)


def _file(path: "AnyPath", naming: Naming) -> OpenInput:
    name = path.name.encode("utf-8", "replace").decode()
    if not isinstance(path, Path):
        name = without_secrets(f"://{name}").removeprefix("://")
    suffix, packing = ending(name)
    if suffix == ".parquet" and not packing:
        return parquet(path, name, naming)
    if suffix == SHEETS and not packing:
        return sheet_rows(path, name, naming)
    if suffix not in (*TEXT, *DELIMITED):
        known = f"Formats are told by the ending: {FORMATS}."
        fix = next(
            (fix for endings, fix in _OTHERS.items() if suffix in endings or path.suffix.lower() in endings), known
        )
        raise InputError(f"unknown format {suffix!r}", where=name, fix=fix)
    if suffix in DELIMITED:
        return _delimited(path, name)
    if suffix == ".json":
        return _json(path, name, naming)
    with open_text(path, name) as file:  # what is no text is told at once
        first = next(lines(file), (0, b""))[1]
    if suffix == ".txt":
        # Excel's "Unicode text" is a table.
        is_table = b"\t" in first and _is_header(first, naming)
        return _delimited(path, name) if is_table else OpenInput(name, None, _lines(path, name, text_line))
    if _begins_json(first) and not _has_rows(path, name):
        return _json(path, name, naming)
    return OpenInput(name, None, _lines(path, name, json_line))


def _has_rows(path: "AnyPath", name: str) -> bool:
    """Whether one of the lines after the first is a row: then the first alone is broken."""
    with open_text(path, name) as file:
        return any(line[:1] in b'{"' and isinstance(json_line(line, ""), Raw) for _, line in islice(lines(file), 1, 20))


def _lines(path: "AnyPath", name: str, parse: Parse) -> Iterator[Unread]:
    with open_text(path, name) as file:
        yield from each_line(file, name, parse)


def _delimited(path: "AnyPath", name: str) -> OpenInput:
    def opened() -> Generator[OpenInput | Unread, None, None]:
        """Yield the header, then the rows."""
        with open_text(path, name) as file, as_cells(file) as text:
            table = delimited(text, name)
            yield table
            yield from table.unread

    rows: Any = opened()
    table: OpenInput = next(rows)
    return replace(table, unread=rows)


def _piped(path: Path, naming: Naming) -> Iterator[Unread]:
    with path.open("rb") as file:
        yield from _guessed(file, PIPE, naming)


def _guessed(file: BinaryIO, name: str, naming: Naming) -> Iterator[Unread]:
    """Read what has no ending: JSON Lines if the first line is an object or is JSON, a table if it is a header.

    What begins as JSON of several lines, or as an array of rows, is read whole. Else a prompt a line.
    """
    text = as_text(file, name)
    numbered = lines(text)
    first = next(numbered, None)
    if first is None:
        return
    number, line = first
    if _begins_json(line):
        read = [first, *numbered]
        rows = _whole_json(b"\n".join(line for _, line in read), name, naming)
        if rows is not None:
            yield from rows
            return
        numbered = iter(read[1:])
    if number == 1 and _is_header(line, naming):
        with as_cells(rejoined(line + b"\n", text)) as cells:
            yield from delimited(cells, name).unread
        return
    is_json = line.lstrip().startswith(b"{") or isinstance(json_line(line, ""), Raw)
    parse = json_line if is_json else text_line
    for number, line in chain([first], numbered):
        yield partial(parse_line, parse, line, name, number)


def _begins_json(line: bytes) -> bool:
    """Whether a first line is the beginning of JSON of several lines, or an array of objects that are no messages.

    Or a whole table in one line, by its columns: pandas writes it so where nobody asks for lines.
    """
    start = line.strip()
    if start in (b"[", b"{", b"[{"):
        return True
    if start.startswith(b"{"):
        row = json_line(start, "")
        return isinstance(row, Raw) and len(row.columns) > 1 and by_columns(row.columns) is not None
    if not start.startswith(b"["):
        return False
    row = json_line(start, "")
    if isinstance(row, Broken):
        return start.startswith((b"[{", b'["'))
    turns = row.columns["messages"]
    return bool(turns) and all(isinstance(turn, dict) and turn.keys().isdisjoint(("role", "from")) for turn in turns)


def _whole_json(content: bytes, name: str, naming: Naming) -> Iterator[Unread] | None:
    """Return the rows of JSON; None where it is none."""
    try:
        return _json_rows(from_json(content.decode("utf-8-sig")), name, naming)
    except (ValueError, RecursionError):
        return None


def _is_header(line: bytes, naming: Naming) -> bool:
    """Whether a line is names of columns, one that is read among them, and can't be a sentence."""
    text = line.decode(errors="replace")
    cells = [cell.strip('"') for cell in text.split(separator_of(text))]
    if len(cells) < 2 or naming is EVERYTHING or not all(_NAME.fullmatch(cell) for cell in cells):
        return False
    return any(naming.known(cell.casefold()) or cell in naming.given.values() for cell in cells)


def _json(path: "AnyPath", name: str, naming: Naming) -> OpenInput:
    """Read an array, an object with ``rows`` or ``data``, or one object; or JSON Lines under this ending."""
    try:
        with open_text(path, name) as file:
            value = from_json(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} isn't UTF-8", where=name, fix="Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and isinstance(json_line(error.doc.lstrip().partition("\n")[0].encode(), ""), Raw):
            return OpenInput(name, None, _lines(path, name, json_line))
        if not error.doc.strip():
            return OpenInput(name, None, iter(()))
        raise InputError(
            f"not JSON: {error.msg}",
            where=f"{name}:{error.lineno}:{error.colno}",
            fix="Expected one array of rows, or a row a line: `jq -c .` makes lines of objects.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON that can be read: {error}", where=name) from None
    return OpenInput(name, None, _json_rows(value, name, naming))


def _json_rows(value: object, name: str, naming: Naming) -> Iterator[Unread]:
    rows = _rows_of(value, name, naming) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise InputError("expected an array of rows, or an object with rows", where=name)
    return (partial(json_row, row, f"{name}:row {i}") for i, row in enumerate(unwrapped(rows, name)))


def _rows_of(value: dict[str, Any], name: str, naming: Naming) -> list[Any]:
    """Return the rows of an object: of its columns, of the table that it holds, or itself.

    Where all columns are read, they are those of one tool, whose objects it knows itself.
    """
    if (rows := by_columns(value)) is not None:
        return rows
    for key in ("rows", "data"):
        if isinstance(value.get(key), list):
            return list(value[key])
    if naming is EVERYTHING or not set(naming.given.values()).isdisjoint(value):
        return [value]
    inner = value.get("data")
    tables = within(inner if isinstance(inner, dict) and len(value) == 1 else value)
    if len(tables) > 1:
        raise InputError(
            f"it holds several tables: {', '.join(tables)}",
            where=name,
            fix=f"Give one of them: `jq -c '.{next(iter(tables))}[]'` writes a row a line.",
        )
    return next(iter(tables.values()), [value])


def _folder(path: Path, split: str | None, naming: Naming) -> OpenInput:
    if not any((path / file).is_file() for file in ("dataset_info.json", "dataset_dict.json")):
        raise InputError("the folder holds no dataset", where=str(path), fix=_instead(path))
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
    return dataset(path.name, data, naming)


def _instead(folder: Path) -> str:
    """Say what to give in the place of a folder: one of its files, where there are some that are read."""
    files = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    readable = [name for name in files if ending(name)[0] in (*TEXT, *DELIMITED, ".parquet", SHEETS)]
    if not readable:
        return "Give a file, or what save_to_disk wrote."
    several = f" of {len(readable):,} that can be read, each by itself" if len(readable) > 1 else ""
    return f"Give a file in it, such as {readable[0]}{several}; or what save_to_disk wrote."


def _of_card(source: str, address: HubAddress, naming: Naming) -> OpenInput:
    """Open what the card of a data set of the hub offers."""
    try:
        return _streamed(address.repo, address.split.removeprefix(":"), address.revision, naming)
    except InputError:
        raise
    except Exception as error:  # the boundary: errors of the library, and those of the hub's client below it
        raise hub_error(error, source) from None


def _streamed(name: str, split: str, revision: str | None, naming: Naming) -> OpenInput:
    import datasets

    datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = TRIES
    with patient():
        data = datasets.load_dataset(name, split=split or "train", revision=revision, streaming=True)
    opened = dataset(name, data, naming)
    return replace(opened, unread=while_connected(opened.unread, opened.name))


def _hub(source: str, naming: Naming) -> OpenInput:
    name, _, split = source.partition(":")
    try:
        return _streamed(name, split, None, naming)
    except InputError:
        raise
    except Exception as error:  # likewise, network errors of several libraries among them
        problem = f"no such file, and the hub gives no dataset of that name: {_brief(error)}"
        raise InputError(problem, where=source, fix=f"Give a file ({FORMATS}) or OWNER/NAME[:SPLIT].") from None


def _brief(error: Exception) -> str:
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
