"""Practice: tasks before work, each explained once it was answered."""

from typing import Any

from fastapi import Request, Response

from critic.feedback import KINDS
from service import problems
from service.context import Service
from service.keys.auth import Caller
from service.labels.tasks import answering, practising, tasking
from service.labels.tasks.answering import AnswerRequest
from service.refusals import Conflict, Invalid
from service.store.database import Row
from service.web.forms import requested
from service.web.label.fields import Fields
from service.web.label.sheet import Sheet, asked_of, page_of, practice_sheet
from service.web.rendering import render


async def page(
    request: Request,
    parts: Service,
    project: Row,
    annotator: str,
    where: practising.PracticeStanding,
    again: bool,
) -> Response:
    """The next practice task; where a round is over and was not good enough, that, unless somebody tries ``again``."""
    if where.next is None and not again:
        return render(request, "label/practice_over.html.j2", project=project, where=where)
    id = where.next or where.tasks[0]
    task = await parts.database.look(lambda connection: tasking.task(connection, id))
    sheet = await practice_sheet(parts, project, task, annotator, where)
    return await _whole(request, parts, project, sheet)


async def answered(request: Request, parts: Service, project: Row, id: str, caller: Caller, fields: Fields) -> Response:
    """Say whether it was right, and why."""
    annotator = tasking.require_annotator(caller.annotator)
    task, where = await parts.database.look(
        lambda connection: (
            tasking.task(connection, id),
            practising.standing(connection, project, annotator),
        )
    )
    sheet = await practice_sheet(parts, project, task, annotator, where, fields)
    asked = await asked_of(parts, project, sheet["responses"])
    try:
        label = page_of(project["kind"]).label(asked, fields)
        given, shown = await answering.read(
            parts.labels, project, task, caller, requested(AnswerRequest, {"label": label})
        )
        said = given.label.model_dump(mode="json", exclude_defaults=True)
        is_right, where = await parts.database.change(
            lambda connection: practising.stored(connection, project["id"], task, annotator, said)
        )
    except (Conflict, Invalid) as refusal:
        problem = problems.of(refusal)
        return await _whole(request, parts, project, sheet, problem.status, problem.public())
    kind = KINDS[project["kind"]]
    expected = kind.model_validate(task["expected"]).reordered(shown)
    about: dict[str, Any] = {
        "is_right": is_right,
        "is_scored": bool(kind.agreement),
        "yours": page_of(project["kind"]).said(asked, label_of(given.label.reordered(shown))),
        "expected": page_of(project["kind"]).said(asked, label_of(expected)),
        "why": task["why"],
        "where": where,
    }
    return render(request, "label/practice_told.html.j2", project=project, sheet=sheet, **about)


def label_of(label: Any) -> dict[str, Any]:
    """A label's values, as a page's fields are made of."""
    values: dict[str, Any] = label.model_dump(mode="json")
    return values


async def _whole(
    request: Request, parts: Service, project: Row, sheet: Sheet, status: int = 200, error: Any = None
) -> Response:
    bound = None if project["constitution"] is None else await parts.constitutions.get(project["constitution"])
    about = {"project": dict(project) | {"break_minutes": None}, "constitution": bound, "pace": None}
    return render(request, "label/task.html.j2", status, sheet=sheet, error=error, **about)
