"""Versions of data sets in the database: listed, looked up, chosen from."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, tuple_

from service.answers.datasets import Dataset
from service.refusals import not_found
from service.store.database import Database
from service.store.tables import datasets


async def page(
    database: Database, after: tuple[str, int] | None, limit: int, name: str | None = None
) -> tuple[list[Dataset], bool]:
    """Return versions behind a name and number, of ``name`` alone where it is given; and whether there are more."""
    query = select(datasets).order_by(datasets.c.name, datasets.c.version).limit(limit + 1)
    if name is not None:
        query = query.where(datasets.c.name == name)
    if after is not None:
        query = query.where(tuple_(datasets.c.name, datasets.c.version) > after)
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [Dataset.model_validate(dict(row)) for row in rows[:limit]], len(rows) > limit


async def get(database: Database, name: str, version: int) -> Dataset:
    """Return one version. Raises `NotFound`."""
    query = select(datasets).where(datasets.c.name == name, datasets.c.version == version)
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise not_found("data set", f"{name}@{version}", "GET /v1/datasets lists them.")
    return Dataset.model_validate(dict(row))


async def tables(database: Database, name: str, version: int) -> Sequence[str] | None:
    """Return the names of a version's tables; None where there is no such version."""
    query = select(datasets.c.counts).where(datasets.c.name == name, datasets.c.version == version)
    async with database.read() as connection:
        counts = (await connection.execute(query)).scalar_one_or_none()
    return None if counts is None else list(counts["tables"])


async def newest(database: Database, limit: int) -> Sequence[Any]:
    """Return name and version of the newest versions."""
    query = select(datasets.c.name, datasets.c.version).order_by(datasets.c.created_at.desc()).limit(limit)
    async with database.read() as connection:
        return (await connection.execute(query)).all()
