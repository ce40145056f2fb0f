"""Labels of one item, or of one job, a few at a time and as far as they are not too long.

Each is read with its own copy of the texts that it is about: 500 of them may be a gigabyte.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sqlalchemy import RowMapping, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.bounds.text_bounds import TextBounds
from service.labels.label_query import StoredFeedback, stored

ROWS_READ = 4  # that are in memory at once: each may have megabytes


async def first_labels(
    connection: AsyncConnection, query: Select[Any], most_bytes: int
) -> list[tuple[RowMapping, StoredFeedback]]:
    """Return the first labels of a `selected` query: one, however long it is, and more up to so many bytes in all."""
    labels: list[tuple[RowMapping, StoredFeedback]] = []
    left = most_bytes
    async with aclosing(rows_of(connection, query)) as rows:
        async for row in rows:
            left -= size_of(row)
            if left < 0 and labels:
                break
            labels.append((row, stored(row)))
    return labels


async def rows_of(connection: AsyncConnection, query: Select[Any]) -> AsyncGenerator[RowMapping, None]:
    """Yield a query's rows, of which a few are in memory. Close it where it is not read to its end."""
    async with connection.stream(query, execution_options={"yield_per": ROWS_READ}) as rows:
        async for row in rows.mappings():
            yield row


def size_of(row: RowMapping) -> int:
    """The bytes of a label with the texts that it is about."""
    return sum(TextBounds.size(row[name]) for name in ("label", "prompt", "responses"))
