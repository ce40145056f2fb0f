"""Which of the items that a judge compared people should see: drawn, put into a project, and estimated from later.

Each item's chance is stored, so that figures over all items stay unbiased (`critic.evaluation.powered.route`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Connection, and_, or_, select
from sqlalchemy.exc import IntegrityError

from critic.evaluation.powered.estimates import Draw
from critic.evaluation.powered.items import Gathered, gathered
from critic.evaluation.powered.route import Route, route
from critic.feedback import Feedback
from service.bounds.lanes import Stop
from service.keys.auth import Caller, audited
from service.labels.label_query import RETRACTED, FeedbackFilter, numbers
from service.labels.labels import new_id
from service.labels.projects.project_items import tasks_of
from service.labels.snapshot import labels_by_item
from service.refusals import Conflict, Invalid, not_found
from service.store.database import Database, Rows
from service.store.repeats.idempotency import Once
from service.store.tables import feedback, now, retractions, routed, routings

MOST_ITEMS = 10_000  # that a draw is made from
MOST_DRAWN = 1000
CHARACTERS = 64_000_000  # of all texts of a draw's items and their votes, in memory together


class RouteRequest(BaseModel):
    """How many items people can label, of those that judges compared. The same ``seed`` makes the same draw.

    ``filter`` chooses the judges' comparisons: say of one job, or of one judge (``annotator``).
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"budget": 50}]})

    budget: Annotated[int, Field(ge=1, le=MOST_DRAWN, strict=True)]
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)] = 0
    filter: FeedbackFilter = FeedbackFilter()


def draw(connection: Connection, asked: RouteRequest, stop: Stop) -> Route:
    """Draw items. Raises `Invalid` where there is nothing to draw from, or too much."""
    gathered = _gathered(connection, _by_judges(asked), stop)
    if not gathered.items:
        raise Invalid("no judge's comparison is chosen", "Choose other feedback.", where="/filter")
    try:
        return route(gathered, asked.budget, asked.seed)
    except ValueError as error:
        raise Invalid(str(error), "Have a judge compare more, or choose other feedback.", where="/filter") from None


def new(project: str, route: Route) -> dict[str, Any]:
    """Draw the row of a new routing: all but its request, which is stored as it was sent."""
    return {
        "id": new_id(),
        "project": project,
        "items": len(route.items),
        "pilot": route.pilot,
        "created_at": now(),
    }


def shown(route: Route) -> set[str]:
    """The ids of the items that are people's: drawn now, or labelled before."""
    return {one.one.item.id for one in route.items if one.is_drawn or one.one.item.said}


async def add(
    once: Once, row: Mapping[str, Any], asked: RouteRequest, route: Route, items: Rows, answer: Any, caller: Caller
) -> None:
    """Store a routing with the tasks that it makes, ``items``, and each item's chance. Raises `Conflict`."""
    people = shown(route)
    each = [
        {"routing": row["id"], "item": one.one.item.id, "chance": one.chance, "shown": one.one.item.id in people}
        for one in route.items
    ]
    stored = {**row, "request": asked.model_dump(mode="json", exclude_none=True)}
    entry = audited(caller, "project.routed", row["project"], routing=row["id"], items=len(tasks_of(items)))
    try:
        await once.insert({**items, routings: [stored], routed: each, **entry}, answer)
    except IntegrityError:
        raise Conflict("some of the items were added by someone else at the same time", "Send it again.") from None


async def names(database: Database, project: str) -> list[str]:
    """Return the ids of a project's draws, the newest first."""
    query = select(routings.c.id).where(routings.c.project == project).order_by(routings.c.created_at.desc())
    async with database.read() as connection:
        return list((await connection.execute(query)).scalars())


async def newest(database: Database, project: str, limit: int) -> Sequence[Any]:
    """Return the rows of a project's draws, the newest first."""
    query = select(routings).where(routings.c.project == project).order_by(routings.c.created_at.desc()).limit(limit)
    async with database.read() as connection:
        return (await connection.execute(query)).all()


async def asked(database: Database, project: str, routing: str) -> RouteRequest:
    """Return what a draw was asked for. Raises `NotFound`."""
    query = select(routings.c.request).where(routings.c.id == routing, routings.c.project == project)
    async with database.read() as connection:
        stored = (await connection.execute(query)).scalar_one_or_none()
    if stored is None:
        raise not_found("routing", routing, f"GET /v1/projects/{project}/routings lists them.")
    return RouteRequest.model_validate(stored)


def told(connection: Connection, routing: str) -> Draw:
    """Return each item's chance in a draw, and which items are people's."""
    rows = connection.execute(select(routed).where(routed.c.routing == routing)).mappings().all()
    chances = {row["item"]: row["chance"] for row in rows}
    return Draw(chances, frozenset(row["item"] for row in rows if row["shown"]))


def gathered_again(connection: Connection, asked: RouteRequest, routing: str, stop: Stop) -> Gathered:
    """Return what is known by now of the items that a draw was made from."""
    drawn_from = feedback.c.item.in_(select(routed.c.item).where(routed.c.routing == routing))
    return _gathered(connection, [*_by_judges(asked), drawn_from], stop)


def _by_judges(asked: RouteRequest) -> list[ColumnElement[bool]]:
    return [*asked.filter.conditions(), feedback.c.source == "ai", feedback.c.kind == "comparison"]


def _gathered(connection: Connection, by_judges: Sequence[ColumnElement[bool]], stop: Stop) -> Gathered:
    """The chosen comparisons of judges, and all that people said of the same items."""
    judged = select(feedback.c.item).join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)
    judged = judged.where(*by_judges, ~RETRACTED)
    people = feedback.c.source == "human"
    wanted = numbers().where(
        feedback.c.kind == "comparison", ~RETRACTED, feedback.c.item.in_(judged), or_(people, and_(*by_judges))
    )
    return gathered(_bounded(stop.watched(labels_by_item(connection, wanted, stop))))


def _bounded(labels: Iterable[Feedback]) -> Iterator[Feedback]:
    """Yield labels while they fit. Raises `Invalid`."""
    items: set[str] = set()
    characters = 0
    for label in labels:
        if label.item not in items:
            items.add(label.item)
            characters += sum(len(response.text) for response in label.responses)
            characters += sum(len(message.content) for message in label.prompt.messages)
        characters += _said(label)
        if len(items) > MOST_ITEMS or characters > CHARACTERS:
            raise Invalid(
                f"more than {MOST_ITEMS:,} items, or {CHARACTERS:,} characters, are chosen",
                "Choose fewer, say those of one job.",
                where="/filter",
            )
        yield label


def _said(label: Feedback) -> int:
    votes: Any = getattr(label.label, "votes", ())
    return sum(len(vote.reason or "") + len(vote.raw or "") for vote in votes)
