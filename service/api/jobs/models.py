"""Models that were trained here: what they are, and all that they come from."""

import json
from typing import Annotated

from fastapi import APIRouter, Path

from service.answers.models import Model
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import Parts, allowed
from service.engines import TRAINED
from service.jobs import models
from service.keys.auth import Caller
from service.outward.public import public
from service.problems import responses
from service.store.database import Row
from trainers import catalogue

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictRoute, responses=responses())

Reader = Annotated[Caller, allowed("read", "jobs")]
Name = Annotated[str, Path(max_length=200, description="The model's name.")]


@router.get("")
async def listed(caller: Reader, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Model]:
    """All models, by name."""
    rows = await models.page(parts.database, decode(cursor) or "", limit + 1)
    trained = [_model(parts, row) for row in rows[:limit]]
    return Page(items=trained, next=encode(trained[-1].name) if len(rows) > limit else None)


@router.get("/{name:path}", responses=responses(404))
async def get(name: Name, caller: Reader, parts: Parts) -> Model:
    """One model."""
    return _model(parts, await models.get(parts.database, name))


def _model(parts: Parts, row: Row) -> Model:
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
