"""Labels of one item, or of one job, as far as they are not too long.

Each is read with its own copy of the texts that it is about: 500 of them may be a gigabyte.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.labels.label_query import StoredFeedback, selected, stored
from service.labels.label_text import bytes_of
from service.store.tables import feedback


async def first_labels(
    connection: AsyncConnection, query: Select[Any], most_bytes: int
) -> list[tuple[RowMapping, StoredFeedback]]:
    """Return the first labels of a `selected` query: one, however long it is, and more up to so many bytes in all."""
    size = bytes_of(connection.dialect.name).label("size")
    sizes = (await connection.execute(query.with_only_columns(feedback.c.seq, size))).all()
    chosen = selected().where(feedback.c.seq.in_(_first(sizes, most_bytes))).order_by(feedback.c.seq)
    return [(row, stored(row)) for row in (await connection.execute(chosen)).mappings()]


def _first(sizes: Sequence[Any], most_bytes: int) -> list[int]:
    first: list[int] = []
    for seq, size in sizes:
        most_bytes -= size
        if most_bytes < 0 and first:
            break
        first.append(seq)
    return first
