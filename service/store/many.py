"""Many rows of one table, handed to SQLite's driver as it takes them.

SQLAlchemy makes a dictionary of each row, checks it against the statement, and then a tuple of it: a quarter of what a
label of a batch costs the writer. Here each value goes through its column's type into the tuple at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table

MANY = 16  # rows from which on it pays to compile a statement for them

Process = Callable[[Any], Any] | None


def insert_many(connection: Connection, insert: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert ``rows``, which all have the keys of the first."""
    assert isinstance(insert.table, Table)
    dialect = connection.dialect
    compiled = insert.compile(dialect=dialect, column_keys=list(rows[0]))
    processes: list[tuple[str, Process]] = []
    for name in compiled.positiontup or ():
        processes.append((name, insert.table.c[name].type.dialect_impl(dialect).bind_processor(dialect)))
    values = []
    for row in rows:
        values.append(tuple(row[name] if process is None else process(row[name]) for name, process in processes))
    connection.exec_driver_sql(str(compiled), values)
