"""An item with its whole story on one page, and within a project the reviewer's decision."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from base.errors import InputError
from critic.feedback import ComparisonLabel
from critic.judging.aggregate import principle_log_odds
from service import problems
from service.api.labels import projects as api
from service.api.review.items import decided
from service.context import Parts, Service
from service.keys import key_rows
from service.labels import annotators
from service.labels.label_query import StoredFeedback
from service.refusals import Invalid, ProblemDocument
from service.review.adjudication import Adjudication, AdjudicationRequest
from service.review.story import Story, story_of
from service.web.forms import requested
from service.web.manage.asking import Maker, Reader, new_number, only_once, typed
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/items/{item}")
async def story(request: Request, item: str, visit: Reader, parts: Parts) -> Response:
    """All that is known of an item."""
    return await _page(request, parts, visit, item, None, {}, None)


@router.get("/projects/{id}/items/{item}")
async def of_project(request: Request, id: str, item: str, visit: Reader, parts: Parts) -> Response:
    """The same, with what a reviewer needs to decide it in a project."""
    return await _page(request, parts, visit, item, await api.get(id, visit.caller, parts), {}, None)


@router.post("/projects/{id}/items/{item}")
async def decide(request: Request, id: str, item: str, visit: Maker, parts: Parts, form: Form) -> Response:
    """Decide an item."""
    project = await api.get(id, visit.caller, parts)
    given = {name: text_of(form, name).strip() for name in ("label", "reason")}
    values: dict[str, Any] = {"item": item, "reason": given["reason"]}
    values["label"] = _label(project.kind, form)
    try:
        asked = requested(AdjudicationRequest, values)
        await only_once(parts, visit, form, Adjudication, lambda once: decided(id, asked, visit.caller, parts, once))
    except (InputError, Invalid) as error:
        return await _page(request, parts, visit, item, project, given, problems.of(error).public())
    return RedirectResponse(f"/projects/{id}/items/{item}#decisions", 303)


def _label(kind: str, form: Any) -> Any:
    """What was decided, in the short form of its kind."""
    said = text_of(form, "label").strip()
    if kind == "rating":
        return {"value": said, "scale": {"min": text_of(form, "min"), "max": text_of(form, "max")}, "response": 0}
    if kind == "ranking":
        ranks = said.replace(",", " ").split()
        return [int(rank) for rank in ranks if rank.isascii() and rank.isdigit() and len(rank) < 6]
    return said


async def _page(
    request: Request,
    parts: Service,
    visit: Visit,
    item: str,
    project: Any,
    given: Mapping[str, str],
    problem: ProblemDocument | None,
) -> Response:
    async with parts.database.read() as connection:
        told = await story_of(connection, item)
    people = [label.annotator for label in told.labels if label.source == "human"]
    standing = [label for label in told.labels if label.retracted is None]
    withdrawn = [label for label in told.labels if label.retracted is not None]
    texts = [response.text for response in told.responses]
    principles = {label.id: _principles(label, told) for label in told.labels}
    decided = {one.feedback for one in told.decisions}
    return render(
        request,
        "manage/item.html.j2",
        status=200 if problem is None else problem.status,
        tab="items",
        project=project,
        story=told,
        standing=standing,
        withdrawn=withdrawn,
        texts=texts,
        principles=principles,
        names=await annotators.names(parts.database, people),
        decided=decided,
        deciders=await key_rows.names(parts.database, (one.key for one in told.decisions)),
        number=new_number(),
        given=typed(given),
        problem=problem,
        may_decide=visit.may("feedback"),
    )


def _principles(label: StoredFeedback, told: Story) -> list[dict[str, Any]]:
    """What each principle says of the responses in the story's order: its log-odds in each order, and their mean."""
    turned = label.in_order_of([response.text for response in told.responses])
    if not isinstance(turned.label, ComparisonLabel) or not turned.label.votes:
        return []
    means = principle_log_odds(turned.label.votes)
    rows: dict[str | None, dict[str, Any]] = {}
    for vote in turned.label.votes:
        row = rows.setdefault(vote.principle, {"principle": vote.principle, "mean": means.get(vote.principle)})
        row[vote.order or "alone"] = vote.log_odds
        row["mass"] = vote.mass
    return sorted(rows.values(), key=lambda row: -abs(row["mean"] or 0.0))
