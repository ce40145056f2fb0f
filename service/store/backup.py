"""The whole database in one file, and back: also from SQLite to PostgreSQL, and from an older version to this one.

A backup is gzipped JSON Lines: what it is, then each row with its table, then how many there were. It is one state of
the database, taken while the service runs. Runs, data sets and models are files in the data folder: copy that, too.
"""

import base64
import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from alembic import command
from alembic.util.exc import CommandError
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, StatementError

from base.errors import InputError
from service.bounds.portions import portions
from service.bounds.text_bounds import TextBounds
from service.store import migrations, tables
from service.store.database import database_url
from service.store.disk.synced import sync_folder

WHAT, VERSION = "cai-feedback backup", 1
_EXPECTED = "Name a file that `cai database backup` has written."
LEFT_OUT = {"workers", "sessions", "links"}  # who works and is signed in right now
ROWS_READ = 8  # of the database that are in memory at once: each may be as large as a label ever was
ROWS_WRITTEN = 1000  # at most, in one statement
LINE_BYTES = 2**30  # of a backup: no database's row holds more
LARGEST = 2**63  # one more than a 64-bit column holds
CHANGED = "the backup is cut short, or was changed"

Line = dict[str, Any]


def backup(url: str, file: Path) -> Counter[str]:
    """Write all rows to ``file``, which is there whole or not at all; return how many of each table.

    Raises `InputError` where there is no service's database, or ``file`` exists.
    """
    if file.exists():
        raise InputError("exists already", where=str(file), fix="A backup never overwrites one: name a new file.")
    part = file.with_name(f".{file.name}.part")
    counts: Counter[str] = Counter()
    try:
        with migrations.connected(database_url(url), reads=True) as connection, _created(part) as out:
            _begin(connection)
            out.write(_line({"what": WHAT, "version": VERSION, "revision": _revision(connection)}))
            for table, row in _rows(connection):
                out.write(_line({"table": table.name, "row": _plain(row)}))
                counts[table.name] += 1
            out.write(_line({"end": counts.total()}))
        part.replace(file)
        sync_folder(file.absolute().parent)
    finally:
        part.unlink(missing_ok=True)
    return counts


def restore(url: str, file: Path) -> Counter[str]:
    """Put a backup's rows into an empty database, all or none; return how many of each table.

    Jobs that had not ended are failed, to be retried: their queue is not in a backup. Raises `InputError` where the
    backup is broken, or of a later version; then the database is as empty as before.
    """
    if not file.is_file():
        problem = "this is a folder" if file.is_dir() else "there is no such file"
        raise InputError(problem, where=str(file), fix=_EXPECTED)
    lines = _lines(file)
    try:
        head = next(lines, {})
    except _Broken:
        head = {}
    if head.get("what") != WHAT or head.get("version") != VERSION or not isinstance(head.get("revision"), str):
        raise InputError("this is no backup that this version can read", where=str(file), fix=_EXPECTED)
    with migrations.connected(database_url(url)) as connection:
        if "keys" in inspect(connection).get_table_names():
            raise InputError("the database is in use already", where="--database", fix="Restore into a new one.")
        try:
            counts = _restored(connection, head["revision"], lines, file)
            connection.commit()  # the first: until here nothing of it is there
        except BaseException:
            connection.rollback()
            raise
    return counts


def _restored(connection: Connection, revision: str, lines: Iterator[Line], file: Path) -> Counter[str]:
    """Make the tables that the backup is of, fill them, and bring them to this version, in one transaction."""
    try:
        command.upgrade(migrations.config(connection), revision)
    except CommandError:
        fix = "Restore it with the version of cai-feedback that wrote it, or a later one."
        raise InputError(f"this version knows no tables {revision[:40]!r}", where=str(file), fix=fix) from None
    try:
        counts = _insert(connection, lines, file)
        _check_references(connection)
    except _Broken as error:
        raise InputError(str(error), where=str(file), fix="No row was restored.") from None
    except (DataError, IntegrityError, StatementError) as error:
        if isinstance(error, OperationalError):  # a full disk, a database that went away: no fault of the backup
            raise
        problem = f"its rows can't be stored together: {str(error.orig).strip().splitlines()[0]}"
        raise InputError(problem, where=str(file), fix="No row was restored.") from None
    command.upgrade(migrations.config(connection), "head")
    open = tables.jobs.c.state.in_(("queued", "running"))
    failed = {"state": "failed", "error": "restored from a backup; retry it to go on"}
    connection.execute(update(tables.jobs).where(open).values(failed))
    _number_on(connection)
    return counts


class _Broken(Exception):
    """The backup says something that no backup of ours says."""


@contextmanager
def _created(part: Path) -> Iterator[gzip.GzipFile]:
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it holds what people said
    with os.fdopen(handle, "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as out:
            yield out
        file.flush()
        os.fsync(file.fileno())


def _begin(connection: Connection) -> None:
    """See one state of the database until the end."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    else:
        connection.begin()  # the first read takes the state


def _revision(connection: Connection) -> str:
    if "alembic_version" not in inspect(connection).get_table_names():
        raise InputError("this database holds no service", where="--database")
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _rows(connection: Connection) -> Iterator[tuple[Table, Mapping[str, Any]]]:
    for table in _reflected(connection):
        query = select(table).order_by(*table.primary_key.columns)
        for row in connection.execute(query, execution_options={"yield_per": ROWS_READ}).mappings():
            yield table, {str(key): value for key, value in row.items()}


def _reflected(connection: Connection) -> list[Table]:
    """The tables as the database has them now, in an order in which none refers to a later one."""
    there = set(inspect(connection).get_table_names()) & (set(tables.metadata.tables) - LEFT_OUT)
    metadata = MetaData()
    metadata.reflect(connection, only=sorted(there))
    ordered = [table for table in metadata.sorted_tables if table.name in there]
    for column in (column for table in ordered for column in table.columns):
        if isinstance(column.type, JSON):  # where a column may be empty, null means that it is, and no JSON value
            column.type = JSON(none_as_null=bool(column.nullable))
    return ordered


def _insert(connection: Connection, lines: Iterator[Line], file: Path) -> Counter[str]:
    tables = {table.name: table for table in _reflected(connection)}
    counts: Counter[str] = Counter()
    for name, group in groupby(lines, key=lambda line: line.get("table")):
        if name is None:
            if [*islice(group, 2)] == [{"end": counts.total()}]:
                return counts
            break
        if name not in tables or name in counts:
            raise _Broken(f"the table {str(name)[:40]!r} is not expected here")
        typed = (_typed(tables[name], line.get("row"), number) for number, line in enumerate(group, 1))
        for rows in portions(typed, ROWS_WRITTEN, TextBounds.size):
            connection.execute(insert(tables[name]), rows)
            counts[name] += len(rows)
    raise _Broken(CHANGED)


def _check_references(connection: Connection) -> None:
    """SQLite checks what rows refer to only where it is asked."""
    if connection.dialect.name != "sqlite":
        return
    wrong = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if wrong is not None:
        raise _Broken(f"a row of {wrong[0]} refers to a row of {wrong[2]} that is not there")


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL count up from the greatest row number; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None and isinstance(column.type, Integer):
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            greatest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            connection.execute(select(func.setval(sequence, greatest, False)))


def _lines(file: Path) -> Iterator[Line]:
    """The lines of a backup. Raises `_Broken` where they can't be read, or their checksum, the file's end, is wrong."""
    try:
        with gzip.open(file, "rb") as stream:
            while text := stream.readline(LINE_BYTES):
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise _Broken(CHANGED)
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError):
        raise _Broken(CHANGED) from None


def _line(value: Line) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _plain(row: Mapping[str, Any]) -> Line:
    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}


def _typed(table: Table, row: Any, number: int) -> Line:
    """A row as the database takes it. Raises `_Broken` where a column is missing, unknown or of another type."""
    place = f"row {number} of {table.name}"
    if not isinstance(row, dict) or set(row) != {column.name for column in table.columns}:
        raise _Broken(f"{place} has other columns than the table")
    typed: Line = {}
    for column in table.columns:
        try:
            typed[column.name] = _value(column, row[column.name])
        except (TypeError, ValueError):
            raise _Broken(f"{place}: {column.name} holds what the column can't") from None
    return typed


def _value(column: Column[Any], value: Any) -> Any:
    if isinstance(column.type, JSON):
        return value
    if value is None:
        if not column.nullable:
            raise ValueError("missing")
        return None
    kind = column.type.python_type
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is int and not -LARGEST <= value < LARGEST):
        raise TypeError("of another type")
    if kind is str:
        value.encode()  # half a surrogate pair is no text that a database takes
    return value
