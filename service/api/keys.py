"""API keys. An administrator makes and revokes them; a key's text is told once."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.answers.keys import Key, KeyMade
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, decode, encode
from service.context import OnlyOnce, Parts, allowed
from service.keys import key_rows
from service.keys.auth import Caller, Scope, new_key
from service.keys.names import ShownName
from service.keys.sessions import LINK_HOURS, LONGEST_LINK_HOURS, new_link
from service.labels import annotators
from service.labels.label_query import KeptTime
from service.problems import responses
from service.refusals import Conflict

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=StrictRoute, responses=responses())

Admin = Annotated[Caller, allowed("admin")]


class KeyRequest(BaseModel):
    """A key to be made. With ``annotator`` (an id), labels given with it are that annotator's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Ada's laptop", "scopes": ["label"], "annotator": "3f2a9c"}]},
    )

    name: ShownName
    scopes: frozenset[Scope] = Field(min_length=1)
    annotator: str | None = Field(default=None, max_length=64)
    expires_at: KeptTime | None = None


@router.post("", status_code=201, responses=responses(404, 409))
async def make(asked: KeyRequest, caller: Admin, parts: Parts, once: OnlyOnce) -> KeyMade:
    """Make a key. Keep its text: the server only has a hash of it."""
    if asked.annotator is not None:
        await annotators.must_hold_key(parts.database, asked.annotator)
    made = new_key(asked.name, asked.scopes, annotator=asked.annotator, expires_at=asked.expires_at)
    answer = KeyMade(key=made.text, **made.row)
    # A repeated request is answered without the text: storing it would undo the hash.
    stored = answer.model_copy(update={"key": ""})
    await key_rows.add(once, made, stored, caller)
    return answer


@router.get("")
async def listed(caller: Admin, parts: Parts, limit: Limit = 50, cursor: Cursor = None) -> Page[Key]:
    """All keys, by id."""
    rows = await key_rows.page(parts.database, decode(cursor) or "", limit + 1)
    made = [Key.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=made, next=encode(made[-1].id) if len(rows) > limit else None)


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
    await key_rows.must_be_open(parts.database, id)
    made = new_link(id, parts.keys.time, asked.hours)
    answer = LinkMade(path=f"/sign-in/{made.token}", expires_at=made.expires_at)
    # As with a key: a repeated request is answered without what would let in whoever reads the database.
    stored = answer.model_copy(update={"path": ""})
    await key_rows.add_link(once, id, made, stored, caller)
    return answer


@router.delete("/{id}", responses=responses(404, 409))
async def revoke(id: str, caller: Admin, parts: Parts) -> Key:
    """Revoke a key. Every server refuses it within two seconds; what it did stays.

    A key can't revoke itself, and the last administrator's key that never expires can't be revoked.
    """
    if id == caller.key:
        raise Conflict("a key can't revoke itself: the last one would lock everyone out", "Use another key.")
    revoked = await key_rows.revoke(parts.database, id, caller)
    parts.keys.forget(id)
    return Key.model_validate(dict(revoked))
