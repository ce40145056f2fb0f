"""Write a run's tables to files: the same rows give the same bytes, and a failed export leaves the old files.

Memory does not grow with the number of rows.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from critic.records import Provenance, Quarantined, Row
from critic.run.folder.tables import ExportTable, Record, tables, with_tool_turns
from critic.settings.run import Format

GROUP_ROWS = 1000  # of a Parquet row group, which is written when either limit is reached
GROUP_CHARACTERS = 16 * 2**20
LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One written file: its name in the run's directory, its records, its content's SHA-256."""

    name: str
    records: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """What an export wrote: a file for each of ``pairs``, ``sft``, ``feedback``, ``quarantine``; and rows read."""

    rows: int
    format: Format
    files: Mapping[str, ExportedFile]
    reasoning: bool = False


class _Writer(Protocol):
    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


def export(
    rows: Callable[[], Iterator[Row]],
    quarantined: Callable[[], Iterator[Quarantined]],
    provenance: Provenance,
    directory: Path,
    format: Format,
    reasoning: bool = False,
) -> ExportCounts:
    """Write ``pairs``, ``sft`` and ``feedback`` in ``format``, and ``quarantine.jsonl`` (empty if all went well).

    All are written beside the old files and then put in their place; exports in the other format go. ``reasoning`` puts
    what models thought beside what they answered. ``rows`` and ``quarantined`` are each called once. Raises `OSError`
    (a full disk, say) with the old files as they were.
    """
    exported = tables(reasoning)
    names = {table: f"{table}.{format}" for table in exported} | {"quarantine": "quarantine.jsonl"}
    counts = dict.fromkeys(names, 0)
    temporary = {table: directory / f".{name}.part" for table, name in names.items()}
    try:
        with ExitStack() as stack:
            writers = {table: _open(stack, exported.get(table), path) for table, path in temporary.items()}
            read = 0
            for row in rows():
                read += 1
                for table, spec in exported.items():
                    for record in spec.records(row, provenance):
                        writers[table].write(record)
                        counts[table] += 1
            for refused in quarantined():
                writers["quarantine"].write(refused.model_dump())
                counts["quarantine"] += 1
        files = {table: ExportedFile(names[table], counts[table], _sha256(path)) for table, path in temporary.items()}
        for table, path in temporary.items():
            path.replace(directory / names[table])
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    for table in exported:
        (directory / f"{table}.{'parquet' if format == 'jsonl' else 'jsonl'}").unlink(missing_ok=True)
    return ExportCounts(read, format, files, reasoning)


def _open(stack: ExitStack, table: ExportTable | None, path: Path) -> _Writer:
    file = stack.enter_context(path.open("wb"))
    writer = Parquet(file, table.schema) if table is not None and ".parquet" in path.suffixes else JsonLines(file)
    stack.callback(os.fsync, file.fileno())
    stack.callback(file.flush)
    stack.callback(writer.close)
    return writer


class JsonLines:
    """One JSON object a line, in the schema's column order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, record: Record) -> None:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if not text.isascii():
            for character, escape in LINE_ENDS.items():  # JSON allows them raw, but many readers split lines there
                text = text.replace(character, escape)
        self._file.write(text.encode() + b"\n")

    def close(self) -> None:
        """Nothing waits here."""


class Parquet:
    """Row groups that close at a number of rows or of characters: by content alone, so that bytes are the same.

    Messages have the columns of tool turns only where a prompt has such turns: a null ``tool_calls`` in every message
    is something that some chat templates stumble over.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file, self._schema, self._is_wide = file, schema, False
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[Record] = []
        self._characters = 0

    def write(self, record: Record) -> None:
        if not self._is_wide and _has_tool_turns(record.get("prompt")):
            self._widen()
        self._waiting.append(record)
        self._characters += _characters(record)
        if len(self._waiting) >= GROUP_ROWS or self._characters >= GROUP_CHARACTERS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _widen(self) -> None:
        """Make room for tool turns, in what is written already, too: a file has one schema."""
        self._writer.close()
        self._file.flush()
        wide = with_tool_turns(self._schema)
        with TemporaryFile() as before:
            with Path(self._file.name).open("rb") as written:
                copyfileobj(written, before)
            self._file.seek(0)
            self._file.truncate()
            self._writer = pq.ParquetWriter(self._file, wide, compression="zstd")
            narrow = pq.ParquetFile(before)
            for group in range(narrow.num_row_groups):
                records = narrow.read_row_group(group).to_pylist()
                self._writer.write_table(pa.Table.from_pylist(records, wide))
        self._schema, self._is_wide = wide, True

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting, self._characters = [], 0


def _has_tool_turns(prompt: object) -> bool:
    """Whether a row's prompt is a chat with more in its messages than roles and contents.

    It is a list of messages, or where feedback is written an object that holds them; tables of labels have it as a JSON
    text, which holds everything.
    """
    messages = prompt["messages"] if isinstance(prompt, dict) else prompt
    return isinstance(messages, list) and any(message.keys() > {"role", "content"} for message in messages)


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
