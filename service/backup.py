"""The whole database in one file, and back: also from SQLite to PostgreSQL, and from an older version to this one.

A backup is gzipped JSON Lines: what it is, then each row with its table, then how many there were. It is one state of
the database, taken while the service runs. Runs, data sets and models are files in the data folder: copy that, too.
"""

import base64
import gzip
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, Integer, MetaData, Table, func, insert, inspect, select, text, update

from constitution.errors import InputError
from service import migrations, tables
from service.database import database_url

WHAT, VERSION = "cai-feedback backup", 1
LEFT_OUT = {"workers"}  # who works right now
ROWS_AT_ONCE = 1000

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
        with migrations.connected(database_url(url)) as connection, _created(part) as out:
            _begin(connection)
            out.write(_line({"what": WHAT, "version": VERSION, "revision": _revision(connection)}))
            for table, row in _rows(connection):
                out.write(_line({"table": table.name, "row": _plain(row)}))
                counts[table.name] += 1
            out.write(_line({"end": counts.total()}))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return counts


def restore(url: str, file: Path) -> Counter[str]:
    """Put a backup's rows into an empty database, all or none; return how many of each table.

    Jobs that had not ended are failed, to be retried: their queue is not in a backup. Raises `InputError`.
    """
    lines = _lines(file)
    head = next(lines, {})
    if head.get("what") != WHAT or head.get("version") != VERSION:
        raise InputError("this is no backup that this version can read", where=str(file))
    with migrations.connected(database_url(url)) as connection:
        if "keys" in inspect(connection).get_table_names():
            raise InputError("the database is in use already", where="--database", fix="Restore into a new one.")
        command.upgrade(migrations.config(connection), str(head["revision"]))
        connection.commit()
        counts = _insert(connection, lines, file)
        command.upgrade(migrations.config(connection), "head")
        open = tables.jobs.c.state.in_(("queued", "running"))
        failed = {"state": "failed", "error": "restored from a backup; retry it to go on"}
        connection.execute(update(tables.jobs).where(open).values(failed))
        _number_on(connection)
        connection.commit()
    return counts


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
        connection.exec_driver_sql("BEGIN")


def _revision(connection: Connection) -> str:
    if "alembic_version" not in inspect(connection).get_table_names():
        raise InputError("this database holds no service", where="--database")
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _rows(connection: Connection) -> Iterator[tuple[Table, Mapping[str, Any]]]:
    for table in _reflected(connection):
        query = select(table).order_by(*table.primary_key.columns)
        for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).mappings():
            yield table, {str(key): value for key, value in row.items()}


def _reflected(connection: Connection) -> list[Table]:
    """The tables as the database has them now, in an order in which none refers to a later one."""
    there = set(inspect(connection).get_table_names()) & (set(tables.metadata.tables) - LEFT_OUT)
    found = MetaData()
    found.reflect(connection, only=sorted(there))
    return [table for table in found.sorted_tables if table.name in there]


def _insert(connection: Connection, lines: Iterator[Line], file: Path) -> Counter[str]:
    found = {table.name: table for table in _reflected(connection)}
    counts: Counter[str] = Counter()
    for name, group in groupby(lines, key=lambda line: str(line.get("table", ""))):
        if not name:
            if [*islice(group, 2)] == [{"end": counts.total()}]:
                return counts
            break
        for rows in _batches(_typed(found[name], line["row"]) for line in group):
            connection.execute(insert(found[name]), rows)
            counts[name] += len(rows)
    connection.rollback()
    raise InputError("the backup is cut short, or was changed", where=str(file), fix="No row was restored.")


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
    try:
        with gzip.open(file, "rb") as stream:
            for line in stream:
                yield json.loads(line)
    except (EOFError, gzip.BadGzipFile, ValueError):
        return  # what is missing is told by the last line, which isn't there


def _line(value: Line) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _plain(row: Mapping[str, Any]) -> Line:
    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}


def _typed(table: Table, row: Line) -> Line:
    binary = {column.name for column in table.columns if column.type.python_type is bytes}
    return {k: base64.b64decode(v) if k in binary and v is not None else v for k, v in row.items()}


def _batches(rows: Iterable[Line]) -> Iterator[list[Line]]:
    left = iter(rows)
    while batch := list(islice(left, ROWS_AT_ONCE)):
        yield batch
