"""Routing: items that people should see, drawn into a project with recorded probabilities, and figures from them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel

from critic.evaluation.powered.columns import columns_of
from critic.evaluation.powered.estimates import Draw, Estimate, estimate
from critic.evaluation.powered.items import Gathered
from critic.evaluation.powered.route import Route, decided
from critic.statistics.plain import plain
from critic.statistics.prediction.verdicts import Verdict
from service.answers.agreement import ShareFigure
from service.api.body import StrictRoute
from service.bounds.lanes import Stop
from service.context import OnlyOnce, Parts, allowed
from service.evidence import routing as draws
from service.evidence.routing import RouteRequest
from service.keys import access
from service.keys.auth import Caller
from service.labels.projects import projects
from service.labels.projects.project_items import ItemsRequest, gathered, new_rows, tasks_of
from service.labels.tasks.answering import form_of
from service.problems import responses

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


class RoutedFigure(BaseModel):
    """What people would say of all items: the ``win rate`` of a model, or a judge's ``accuracy``, by one group.

    ``figure`` is of the items with people's labels; its clusters are prompts. It is null where ``why_not`` says why:
    people have to label all that was drawn.
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

    Doubtful is what is near even odds, moves with the order of the responses, divides principles or judges, goes
    against other comparisons of its responses or stands beside doubtful ones, or is unlike all that people have
    labelled. Each item's chance is stored, so that figures stay unbiased.
    """
    project = await projects.of_comparisons(parts.database, id)

    def drawn(stop: Stop) -> Route:
        with parts.snapshots.open(stop) as connection:
            return draws.draw(connection, asked, stop)

    route = await parts.figures.run(request, drawn)
    wanted = ItemsRequest(stored=[one.one.item.id for one in route.drawn])
    async with parts.database.read() as connection:
        chosen = await gathered(connection, wanted, project["kind"], form_of(project), parts.labels.texts)
        rows = await new_rows(connection, id, chosen)
    row = draws.new(id, route)
    made = Routing(**row, request=asked, shown=len(draws.shown(route)), added=len(tasks_of(rows)))
    await draws.add(once, row, asked, route, rows, made, caller)
    return made


@router.get("/{id}/routings", responses=responses(404))
async def listed(id: str, caller: Reader, parts: Parts) -> RoutingNames:
    """The ids of a project's draws."""
    await projects.of_comparisons(parts.database, id)
    return RoutingNames(items=await draws.names(parts.database, id))


@router.get("/{id}/routings/{routing}", responses=responses(404))
async def figures(id: str, routing: str, request: Request, caller: Reader, parts: Parts) -> RoutedFigures:
    """What people would say of all items that were drawn from, by what they said of those drawn; groups apart."""
    asked = await draws.asked(parts.database, id, routing)

    def computed(stop: Stop) -> RoutedFigures:
        with parts.snapshots.open(stop) as connection:
            return _figures(draws.told(connection, routing), draws.gathered_again(connection, asked, routing, stop))

    return await parts.figures.run(request, computed)


def _figures(told: Draw, known: Gathered) -> RoutedFigures:
    estimates = [estimate(one, [told]) for one in columns_of(known, known.models[:MOST_MODELS])]
    verdicts, _ = decided(known)
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
