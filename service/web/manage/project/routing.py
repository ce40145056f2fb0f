"""Routing: items that people should see, drawn into a project, and what they say of all that was drawn from."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from base.errors import InputError
from critic.pages.scales import shares
from critic.pages.strips import Dot, Series, Strips
from service import problems
from service.answers.agreement import ShareFigure
from service.api.evidence import routing as api
from service.api.evidence.routing import ItemVerdict, RoutedFigures, Routing
from service.api.labels import projects
from service.context import Parts, Service
from service.evidence import routing as draws
from service.evidence.routing import RouteRequest
from service.labels.tasks import task_rows
from service.refusals import ProblemDocument, Refusal, not_found
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, new_number, only_once, typed
from service.web.rendering import csv, render, texts
from service.web.visit import Form, PageRoute, Visit, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ITEMS = 100  # with a verdict, on a page
DRAWS = 50  # of a project that are listed, the newest
FILTERS = ("annotator", "job", "constitution")


@router.get("/projects/{id}/routing")
async def listed(request: Request, id: str, visit: Reader, parts: Parts) -> Response:
    """A project's draws, and a form for the next."""
    return await _listed(request, id, visit, parts, {}, None)


@router.post("/projects/{id}/routing")
async def draw(request: Request, id: str, visit: Maker, parts: Parts, form: Form) -> Response:
    """Draw items into the project."""
    given = {name: text_of(form, name).strip() for name in ("budget", "seed", *FILTERS)}
    values: dict[str, Any] = {name: _whole(given[name]) for name in ("budget", "seed") if given[name]}
    values["filter"] = {name: given[name] for name in FILTERS if given[name]}
    try:
        asked = requested(RouteRequest, values)
        made = await only_once(
            parts, visit, form, Routing, lambda once: api.make(id, asked, request, visit.caller, parts, once)
        )
    except (InputError, Refusal) as error:
        return await _listed(request, id, visit, parts, given, problems.of(error).public())
    return RedirectResponse(f"/projects/{id}/routing/{made.id}", 303)


@router.get("/projects/{id}/routing/{routing}")
async def one(request: Request, id: str, routing: str, visit: Reader, parts: Parts) -> Response:
    """One draw: figures over all items that it was made from, and what to do with those that people have labelled."""
    project = await projects.get(id, visit.caller, parts)
    told = await api.figures(id, routing, request, visit.caller, parts)
    drawn = _drawn(told)
    shown = sorted(told.items, key=_is_settled)[:ITEMS]
    return render(
        request,
        "manage/routed.html.j2",
        tab="routing",
        project=project,
        routing=routing,
        figures=told.figures,
        items=shown,
        of=len(told.items),
        prompts=await task_rows.prompts(parts.database, id, [item.item for item in shown]),
        drawn=None if drawn is None else drawn.draw(),
    )


@router.get("/projects/{id}/routing/{routing}/figures.svg")
async def picture(request: Request, id: str, routing: str, visit: Reader, parts: Parts) -> Response:
    """The figures as a picture."""
    drawn = _drawn(await api.figures(id, routing, request, visit.caller, parts))
    if drawn is None:
        raise not_found("picture", "figures", "People have to label all items that were drawn.")
    return Response(str(drawn.file()), media_type="image/svg+xml")


@router.get("/projects/{id}/routing/{routing}/figures.csv")
async def numbers(request: Request, id: str, routing: str, visit: Reader, parts: Parts) -> Response:
    """The figures as rows."""
    told = await api.figures(id, routing, request, visit.caller, parts)
    return csv(f"routing-{routing}", [figure.model_dump() for figure in told.figures])


@router.get("/projects/{id}/routing/{routing}/verdicts.csv")
async def verdicts(request: Request, id: str, routing: str, visit: Reader, parts: Parts) -> Response:
    """A row for each labelled item and group."""
    told = await api.figures(id, routing, request, visit.caller, parts)
    rows = [
        {"item": item.item, "group": group, "verdict": verdict}
        for item in told.items
        for group, verdict in item.verdicts.items()
    ]
    return csv(f"verdicts-{routing}", rows)


async def _listed(
    request: Request, id: str, visit: Visit, parts: Service, given: dict[str, Any], problem: ProblemDocument | None
) -> Response:
    project = await projects.get(id, visit.caller, parts)
    return render(
        request,
        "manage/routing.html.j2",
        status=200 if problem is None else problem.status,
        tab="routing",
        project=project,
        draws=await draws.newest(parts.database, id, DRAWS),
        constitutions=await parts.constitutions.refs(),
        given=typed(given),
        problem=problem,
        number=new_number(),
        may_draw=visit.may("feedback"),
    )


def _is_settled(item: ItemVerdict) -> bool:
    return all(verdict == "settled" for verdict in item.verdicts.values())


def _drawn(told: RoutedFigures) -> Strips | None:
    rows = tuple(
        (f"{_called(one.what)}: {one.of}{'' if one.group is None else f' ({one.group})'}", (_dot(one.figure),))
        for one in told.figures
        if one.figure is not None
    )
    if not rows:
        return None
    return Strips(rows, (Series(texts()("manage.share"), "accent"),), shares(texts()("manage.routed.share")), 0.5)


def _dot(figure: ShareFigure) -> Dot:
    return Dot(figure.estimate, figure.low, figure.high, figure.n)


def _called(what: str) -> str:
    return texts()(f"manage.routed.{what.replace(' ', '_')}")


def _whole(text: str) -> Any:
    """A whole number; what is none is left for the request to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else text
