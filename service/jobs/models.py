"""Models that were trained here, in the database."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, select

from service.refusals import not_found
from service.store.database import Database
from service.store.tables import job_events, models


async def page(database: Database, after: str, limit: int) -> Sequence[RowMapping]:
    """Return models behind the name ``after``, by name."""
    query = select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    async with database.read() as connection:
        return (await connection.execute(query)).mappings().all()


async def get(database: Database, name: str) -> RowMapping:
    """Return one model. Raises `NotFound`."""
    async with database.read() as connection:
        row = (await connection.execute(select(models).where(models.c.name == name))).mappings().one_or_none()
    if row is None:
        raise not_found("model", name, "GET /v1/models lists them.")
    return row


async def newest(database: Database, limit: int) -> list[str]:
    """Return the names of the newest models."""
    query = select(models.c.name).order_by(models.c.created_at.desc()).limit(limit)
    async with database.read() as connection:
        return list((await connection.execute(query)).scalars())


async def trained_on(database: Database, source: str) -> list[str]:
    """Return the names of the models whose jobs were given this source."""
    query = select(models.c.name, job_events.c.body).join(job_events, job_events.c.job == models.c.job)
    async with database.read() as connection:
        rows = (await connection.execute(query.where(job_events.c.kind == "queued"))).all()
    return sorted({row.name for row in rows if source in row.body.get("sources", ())})
