"""API keys. An administrator makes and revokes them; a key's text is told once."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update

from service.answers.keys import Key, KeyMade
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import administrators
from service.keys.auth import Caller, Scope, audited, new_key
from service.keys.sessions import LINK_HOURS, LONGEST_LINK_HOURS, new_link
from service.labels.label_query import Time
from service.problems import responses
from service.refusals import Conflict, not_found
from service.store.tables import annotators, keys, links, now

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=StrictRoute, responses=responses())

Admin = Annotated[Caller, allowed("admin")]


class KeyRequest(BaseModel):
    """A key to be made. With ``annotator`` (an id), labels given with it are that annotator's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Ada's laptop", "scopes": ["label"], "annotator": "3f2a9c"}]},
    )

    name: str = Field(min_length=1, max_length=200)
    scopes: frozenset[Scope] = Field(min_length=1)
    annotator: str | None = Field(default=None, max_length=64)
    expires_at: Time | None = None


@router.post("", status_code=201, responses=responses(404, 409))
async def make(asked: KeyRequest, caller: Admin, parts: Parts, once: OnlyOnce) -> KeyMade:
    """Make a key. Keep its text: the server only has a hash of it."""
    if asked.annotator is not None:
        async with parts.database.read() as connection:
            there = (annotators.c.id == asked.annotator, annotators.c.erased_at.is_(None))
            query = select(annotators.c.id).where(*there)
            if (await connection.execute(query)).first() is None:
                raise not_found("annotator", asked.annotator, "POST /v1/annotators makes one.")
    made = new_key(asked.name, asked.scopes, annotator=asked.annotator, expires_at=asked.expires_at)
    answer = KeyMade(key=made.text, **made.row)
    # A repeated request is answered without the text: storing it would undo the hash.
    stored = answer.model_copy(update={"key": ""})
    await once.insert({keys: [made.row], **audited(caller, "key.made", made.id, name=asked.name)}, stored)
    return answer


@router.get("")
async def listed(caller: Admin, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Key]:
    """All keys, by id."""
    query = select(keys).order_by(keys.c.id).limit(limit + 1).where(keys.c.id > (decode(cursor) or ""))
    async with parts.database.read() as connection:
        rows = (await connection.execute(query)).mappings().all()
    found = [Key.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=found, next=encode(found[-1].id) if len(rows) > limit else None)


class LinkRequest(BaseModel):
    """How many hours a link can be used."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"hours": 24}]})

    hours: float = Field(default=LINK_HOURS, gt=0, le=LONGEST_LINK_HOURS)


class LinkMade(BaseModel):
    """A link to the pages: ``path`` of this server signs in once, as the key's holder. It is never told again.

    ``?to=/label/PROJECT`` behind it leads to a project.
    """

    path: str
    expires_at: datetime


@router.post("/{id}/links", status_code=201, responses=responses(404))
async def link(id: str, asked: LinkRequest, caller: Admin, parts: Parts, once: OnlyOnce) -> LinkMade:
    """Make a link that signs somebody in to the pages, once, without their having to type a key."""
    async with parts.database.read() as connection:
        query = select(keys.c.id).where(keys.c.id == id, keys.c.revoked_at.is_(None))
        if (await connection.execute(query)).first() is None:
            raise not_found("key", id, "GET /v1/keys lists them.")
    made = new_link(id, asked.hours)
    answer = LinkMade(path=f"/sign-in/{made.token}", expires_at=made.expires_at)
    # As with a key: a repeated request is answered without what would let in whoever reads the database.
    stored = answer.model_copy(update={"path": ""})
    await once.insert({links: [made.row], **audited(caller, "link.made", id)}, stored)
    return answer


@router.delete("/{id}", responses=responses(404, 409))
async def revoke(id: str, caller: Admin, parts: Parts) -> Key:
    """Revoke a key. Every server refuses it within two seconds; what it did stays.

    A key can't revoke itself, and the last administrator's key that never expires can't be revoked.
    """
    if id == caller.key:
        raise Conflict("a key can't revoke itself: the last one would lock everyone out", "Use another key.")
    async with parts.database.transaction() as connection:
        await administrators.in_turn(connection)
        await administrators.must_still_be(connection, caller.key)
        before = await administrators.left(connection)
        change = update(keys).where(keys.c.id == id, keys.c.revoked_at.is_(None)).values(revoked_at=now())
        changed = (await connection.execute(change)).rowcount
        row = (await connection.execute(select(keys).where(keys.c.id == id))).mappings().one_or_none()
        if row is None:
            raise not_found("key", id)
        if changed:
            await administrators.one_left(connection, before)
            for table, rows in audited(caller, "key.revoked", id).items():
                await connection.execute(table.insert(), rows)
    parts.keys.forget(id)
    return Key.model_validate(dict(row))
