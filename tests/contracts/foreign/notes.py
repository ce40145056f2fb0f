"""Notes: a resource of the API that isn't the project's."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.api.body import StrictRoute
from service.context import OnlyOnce, Parts, allowed
from service.keys.auth import Caller
from service.problems import responses
from service.store.tables.notes import all_notes, notes  # type: ignore[import-not-found]  # the file beside this one

router = APIRouter(prefix="/v1/notes", tags=["notes"], route_class=StrictRoute, responses=responses())

Admin = Annotated[Caller, allowed("admin")]


class Note(BaseModel):
    """A note, by its name."""

    id: str = Field(min_length=1, max_length=64)
    text: str = Field(max_length=200)


@router.post("", status_code=201)
async def make(asked: Note, caller: Admin, parts: Parts, once: OnlyOnce) -> Note:
    """Write a note."""
    await once.insert({notes: [asked.model_dump()]}, asked)
    return asked


@router.get("")
async def listed(caller: Admin, parts: Parts) -> list[Note]:
    """All notes."""
    async with parts.database.read() as connection:
        rows = await all_notes(connection)
    return [Note.model_validate(row) for row in rows]
