"""Routing: items that people should see, drawn into a project with recorded probabilities, and figures from them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import Connection, RowMapping, select
from sqlalchemy.exc import IntegrityError

from critic.evaluation.powered.columns import columns_of
from critic.evaluation.powered.estimates import Draw, Estimate, estimate
from critic.evaluation.powered.route import Route, decided
from critic.statistics.plain import plain
from critic.statistics.prediction.verdicts import Verdict
from service.api.body import StrictRoute
from service.bounds.lanes import Stop
from service.context import OnlyOnce, Parts, allowed
from service.evidence.routing import RouteRequest, draw, gathered_again
from service.keys import access
from service.keys.auth import Caller, audited
from service.labels.labels import new_id
from service.labels.tasks.answering import form_of
from service.labels.tasks.project_items import ItemsRequest, gathered, new_rows
from service.problems import responses
from service.refusals import Conflict, Invalid, not_found
from service.store.tables import now, projects, routed, routings, tasks

router = APIRouter(prefix="/v1/projects", tags=["routing"], route_class=StrictRoute, responses=responses())

Maker = Annotated[Caller, allowed("feedback")]
Reader = Annotated[Caller, allowed(*access.LABELS)]

MOST_MODELS = 20  # whose win rates are estimated, the first by name
MOST_VERDICTS = 1000


class Routing(BaseModel):
    """A draw. It was made from ``items``, of which ``shown`` are people's: drawn now, or labelled before.

    ``added`` became tasks; the others were tasks of the project already. ``pilot`` counts the labelled items by which
    doubts were weighed.
    """

    id: str
    project: str
    request: RouteRequest
    items: int
    shown: int
    added: int
    pilot: int
    created_at: datetime


class RoutingNames(BaseModel):
    """A project's draws, the newest first."""

    items: list[str]


class ShareFigure(BaseModel):
    """A share with its 95 % interval; ``n`` items with people's labels, of so many ``clusters`` (prompts)."""

    estimate: float
    low: float
    high: float
    n: int
    clusters: int


class RoutedFigure(BaseModel):
    """What people would say of all items: the ``win rate`` of a model, or a judge's ``accuracy``, by one group.

    ``figure`` is null where ``why_not`` says why: people have to label all that was drawn.
    """

    what: str
    of: str
    group: str | None
    figure: ShareFigure | None
    labelled: int
    judged: int
    why_not: str


class ItemVerdict(BaseModel):
    """What to do with an item that people have labelled, by group (``everybody`` where nobody has one)."""

    item: str
    verdicts: dict[str, Verdict]


class RoutedFigures(BaseModel):
    """Figures over all items of a draw, and what to do with those that people have labelled: the first 1,000."""

    figures: list[RoutedFigure]
    items: list[ItemVerdict]


@router.post("/{id}/routings", status_code=201, responses=responses(404, 409))
async def make(id: str, asked: RouteRequest, request: Request, caller: Maker, parts: Parts, once: OnlyOnce) -> Routing:
    """Draw items that judges compared, the doubtful ones more often, and put them into a project of comparisons.

    Doubtful is what is near even odds, moves with the order of the responses, divides principles or judges, or is
    unlike all that people have labelled. Each item's chance is stored, so that figures stay unbiased.
    """
    project = await _project(parts, id)

    def drawn(stop: Stop) -> Route:
        with parts.snapshots.open(stop) as connection:
            return draw(connection, asked, stop)

    found = await parts.figures.run(request, drawn)
    wanted = ItemsRequest(stored=[one.one.item.id for one in found.drawn])
    async with parts.database.read() as connection:
        chosen = await gathered(connection, wanted, project["kind"], form_of(project), parts.labels.texts)
        rows = await new_rows(connection, id, chosen)
    made, own = _rows(id, asked, found, len(rows.get(tasks, ())))
    entry = audited(caller, "project.routed", id, routing=made.id, items=made.added)
    try:
        await once.insert({**rows, **own, **entry}, made)
    except IntegrityError:
        raise Conflict("some of the items were added by someone else at the same time", "Send it again.") from None
    return made


@router.get("/{id}/routings", responses=responses(404))
async def listed(id: str, caller: Reader, parts: Parts) -> RoutingNames:
    """The ids of a project's draws."""
    await _project(parts, id)
    query = select(routings.c.id).where(routings.c.project == id).order_by(routings.c.created_at.desc())
    async with parts.database.read() as connection:
        return RoutingNames(items=list((await connection.execute(query)).scalars()))


@router.get("/{id}/routings/{routing}", responses=responses(404))
async def figures(id: str, routing: str, request: Request, caller: Reader, parts: Parts) -> RoutedFigures:
    """What people would say of all items that were drawn from, by what they said of those drawn; groups apart."""
    query = select(routings.c.request).where(routings.c.id == routing, routings.c.project == id)
    async with parts.database.read() as connection:
        stored = (await connection.execute(query)).scalar_one_or_none()
    if stored is None:
        raise not_found("routing", routing, f"GET /v1/projects/{id}/routings lists them.")
    asked = RouteRequest.model_validate(stored)

    def computed(stop: Stop) -> RoutedFigures:
        with parts.snapshots.open(stop) as connection:
            return _figures(connection, asked, routing, stop)

    return await parts.figures.run(request, computed)


def _figures(connection: Connection, asked: RouteRequest, routing: str, stop: Stop) -> RoutedFigures:
    rows = connection.execute(select(routed).where(routed.c.routing == routing)).mappings().all()
    chances = {row["item"]: row["chance"] for row in rows}
    told = Draw(chances, frozenset(row["item"] for row in rows if row["shown"]))
    found = gathered_again(connection, asked, routing, stop)
    estimates = [estimate(one, told) for one in columns_of(found, found.models[:MOST_MODELS])]
    verdicts, _ = decided(found)
    items = [ItemVerdict(item=item, verdicts=own) for item, own in list(verdicts.items())[:MOST_VERDICTS]]
    return RoutedFigures(figures=[_figure(one) for one in estimates], items=items)


def _figure(one: Estimate) -> RoutedFigure:
    return RoutedFigure(
        what=one.what,
        of=one.of,
        group=one.group,
        figure=None if one.powered is None else ShareFigure(**plain(one.powered)),
        labelled=one.labelled,
        judged=one.judged,
        why_not=one.why_not.get("powered", ""),
    )


def _rows(project: str, asked: RouteRequest, found: Route, added: int) -> tuple[Routing, dict[Any, Any]]:
    shown = {one.one.item.id for one in found.items if one.is_drawn or one.one.item.said}
    made = Routing(
        id=new_id(),
        project=project,
        request=asked,
        items=len(found.items),
        shown=len(shown),
        added=added,
        pilot=found.pilot,
        created_at=now(),
    )
    row = made.model_dump(include={"id", "project", "items", "pilot", "created_at"})
    each = [
        {"routing": made.id, "item": one.one.item.id, "chance": one.chance, "shown": one.one.item.id in shown}
        for one in found.items
    ]
    stored = asked.model_dump(mode="json", exclude_none=True)
    return made, {routings: [row | {"request": stored}], routed: each}


async def _project(parts: Parts, id: str) -> RowMapping:
    """The project, of comparisons. Raises `Refusal`."""
    async with parts.database.read() as connection:
        row = (await connection.execute(select(projects).where(projects.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("project", id, "GET /v1/projects lists them.")
    if row["kind"] != "comparison":
        raise Invalid(
            f"the project asks for labels of the kind {row['kind']}, and what judges compared is routed",
            "Name a project of comparisons.",
        )
    return row
