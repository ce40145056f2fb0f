"""Items: the whole story of one, those that a judge is least sure of, decisions on them, and a search."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from service.api.body import StrictRoute
from service.bounds.lanes import Stop
from service.context import OnlyOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller
from service.problems import responses
from service.review.adjudication import Adjudication, AdjudicationRequest, decide, decisions, store
from service.review.search import Hits, SearchQuery, search
from service.review.story import Story, story_of
from service.review.uncertain import Uncertain, UncertainQuery, least_sure
from service.store.database import take_turn

router = APIRouter(prefix="/v1", tags=["review"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.LABELS)]


class UncertainItems(BaseModel):
    """What a judge is least sure of, that first."""

    items: list[Uncertain]


class Decisions(BaseModel):
    """A project's decisions, the newest first."""

    items: list[Adjudication]


@router.get("/items/{item}", responses=responses(404))
async def story(item: str, caller: Reader, parts: Parts) -> Story:
    """All that is known of an item: labels, critiques, decisions, projects, data sets, models."""
    async with parts.database.read() as connection:
        return await story_of(connection, item)


@router.get("/uncertain")
async def uncertain(
    query: Annotated[UncertainQuery, Query()], request: Request, caller: Reader, parts: Parts
) -> UncertainItems:
    """The judge's comparisons that are nearest to even odds and that no person has labelled.

    `POST /v1/projects/ID/items` with `stored` puts them before people.
    """

    def sought(stop: Stop) -> list[Uncertain]:
        with parts.snapshots.open(stop) as connection:
            return least_sure(connection, query)

    return UncertainItems(items=await parts.figures.run(request, sought))


@router.get("/search")
async def sought(query: Annotated[SearchQuery, Query()], request: Request, caller: Reader, parts: Parts) -> Hits:
    """Labels by a text that occurs in a prompt, a response or the label itself, and by filters; the newest first."""

    def sought(stop: Stop) -> Hits:
        with parts.snapshots.open(stop) as connection:
            return search(connection, query)

    return await parts.figures.run(request, sought)


@router.post("/projects/{id}/adjudications", status_code=201, responses=responses(404, 409))
async def decided(id: str, asked: AdjudicationRequest, caller: Maker, parts: Parts, once: OnlyOnce) -> Adjudication:
    """Decide an item whose labels differ, and say why. The labels stay; a later decision takes this one's place."""
    async with parts.database.transaction() as connection:
        decision, rows = await decide(connection, parts.labels, caller, id, asked)
        await connection.run_sync(take_turn)
        await store(connection, {**rows, **once.rows(decision)})
    return decision


@router.get("/projects/{id}/adjudications", responses=responses(404))
async def decided_before(id: str, caller: Reader, parts: Parts) -> Decisions:
    """The decisions that were taken in a project."""
    async with parts.database.read() as connection:
        return Decisions(items=await decisions(connection, id))
