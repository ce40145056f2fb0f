"""Notes, and what is asked of the database about them."""

from typing import Any

from sqlalchemy import Column, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.tables.columns import Id, metadata

notes = Table("notes", metadata, Column("id", Id, primary_key=True), Column("text", Text, nullable=False))


async def all_notes(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return all notes, by name."""
    rows = (await connection.execute(select(notes).order_by(notes.c.id))).mappings().all()
    return [dict(row) for row in rows]
