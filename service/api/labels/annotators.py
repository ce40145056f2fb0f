"""Annotators: the people who label. Labels name them by an id that says nothing; name and attributes can be erased."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from critic.feedback.feedback import Name
from service.answers.annotators import Annotator
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys.auth import Caller
from service.keys.names import ShownName, seen
from service.labels import annotators
from service.problems import responses

router = APIRouter(prefix="/v1/annotators", tags=["annotators"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed("read", "feedback")]
Admin = Annotated[Caller, allowed("admin")]

Attributes = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=50)], Annotated[str, Field(max_length=200)]],
    Field(max_length=20),
]


class AnnotatorRequest(BaseModel):
    """A person who labels. ``group`` is whose values they speak for: labels of groups are never averaged unasked.

    Attributes are optional, and better left out: what is not stored need not be erased.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Ada", "group": "nurses", "attributes": {"language": "en"}}]},
    )

    name: ShownName
    group: Name | None = None
    attributes: Attributes = {}


class AnnotatorChange(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"group": "nurses"}]})

    group: Name | None = None
    attributes: Attributes = {}


@router.post("", status_code=201, responses=responses(409))
async def make(asked: AnnotatorRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> Annotator:
    """Make an annotator. A key for them is made with `POST /v1/keys` and the id."""
    row = annotators.new(asked.model_dump())
    made = Annotator.model_validate(row)
    await annotators.add(once, row, made, caller)
    return made


@router.get("")
async def listed(
    caller: Reader,
    parts: Parts,
    name: Annotated[str | None, Query(max_length=200, description="Only the one with this name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Annotator]:
    """All annotators, by id."""
    called = None if name is None else {seen(name), name}  # as it is kept, and as versions before kept it
    rows = await annotators.page(parts.database, decode(cursor) or "", limit + 1, called)
    people = [Annotator.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=people, next=encode(people[-1].id) if len(rows) > limit else None)


@router.get("/{id}", responses=responses(404))
async def get(id: str, caller: Reader, parts: Parts) -> Annotator:
    """One annotator."""
    return Annotator.model_validate(dict(await annotators.get(parts.database, id)))


@router.patch("/{id}", responses=responses(404, 409))
async def change(id: str, asked: AnnotatorChange, caller: Maker, parts: Parts) -> Annotator:
    """Change group or attributes. Labels that were given keep the group that they were given for."""
    changes = asked.model_dump(include=asked.model_fields_set)
    changed = await annotators.change(parts.database, id, changes, caller)
    parts.labels.forget(id)
    return Annotator.model_validate(dict(changed))


@router.delete("/{id}", responses=responses(404, 409))
async def erase(id: str, caller: Admin, parts: Parts) -> Annotator:
    """Erase who the annotator is: name and attributes go, keys are revoked. Labels, their group and the id stay.

    Whoever has the last administrator's key that never expires can't be erased.
    """
    erased, revoked = await annotators.erase(parts.database, id, caller)
    parts.labels.forget(id)
    for key in revoked:
        parts.keys.forget(key)
    return Annotator.model_validate(dict(erased))
