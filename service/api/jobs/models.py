"""Models that were trained here: what they are, and all that they come from."""

import json
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy import RowMapping, select

from service.answers.models import Model
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import Parts, allowed
from service.engines import TRAINED
from service.keys.auth import Caller
from service.problems import responses
from service.public import public
from service.refusals import not_found
from service.store.tables import models
from trainers import catalogue

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictRoute, responses=responses())

Reader = Annotated[Caller, allowed("read", "jobs")]
Name = Annotated[str, Path(max_length=200, description="The model's name.")]


@router.get("")
async def listed(caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Model]:
    """All models, by name."""
    query = select(models).where(models.c.name > (decode(cursor) or "")).order_by(models.c.name).limit(limit + 1)
    async with parts.database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    found = [_model(parts, row) for row in rows[:limit]]
    return Page(items=found, next=encode(found[-1].name) if len(rows) > limit else None)


@router.get("/{name:path}", responses=responses(404))
async def get(name: Name, caller: Reader, parts: Parts) -> Model:
    """One model."""
    async with parts.database.read() as connection:
        row = (await connection.execute(select(models).where(models.c.name == name))).mappings().one_or_none()
    if row is None:
        raise not_found("model", name, "GET /v1/models lists them.")
    return _model(parts, row)


def _model(parts: Parts, row: RowMapping) -> Model:
    # Lineage names parents by their folders; where those lie on this machine is nobody's business.
    lineage = public(json.dumps(row["lineage"]).replace(f"{parts.settings.data.resolve()}/", ""))
    return Model(
        id=row["id"],
        name=row["name"],
        trainer=row["trainer"],
        engine=f"{TRAINED}{row['name']}" if catalogue.gives_rewards(row["trainer"]) else None,
        lineage=json.loads(lineage),
        job=row["job"],
        created_at=row["created_at"],
    )
