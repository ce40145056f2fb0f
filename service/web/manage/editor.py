"""An editor for constitutions: it checks as one types, tries a draft principle on stored examples, and publishes."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from base.errors import InputError
from critic.engine import EngineError, RunStopped
from service import problems
from service.answers.constitutions import Summary
from service.api.judges import constitutions as api
from service.api.judges.trials import MOST_EXAMPLES, TrialRequest, tried
from service.bounds.lanes import Stop
from service.context import Parts, Service
from service.refusals import Forbidden, ProblemDocument, Refusal
from service.web.forms import requested
from service.web.manage.asking import Everyone, new_number, only_once, typed
from service.web.manage.constitutions import published
from service.web.rendering import render
from service.web.visit import Form, PageRoute, Visit, text_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

TEMPLATE = """\
name: my-constitution
version: 1.0.0
title: What it is called
summary: One sentence on what it asks for.
license: Apache-2.0
language: en
principles:
  - id: short
    title: Be short
    statement: The response says what matters in as few words as it needs.
    critique: Point to words in the response that could go without loss.
    revision: Rewrite the response with everything that matters in fewer words.
    compare: Which response says what matters in fewer words?
    opposite: The response takes many words to say little.
"""


@router.get("/constitutions/new")
async def new(request: Request, visit: Everyone, parts: Parts, of: str = "") -> Response:
    """Begin with an example, or with a version that is there."""
    text = TEMPLATE
    if of:
        constitution = await published(parts, of)
        text = (await asyncio.to_thread(parts.constitutions.file(constitution).read_bytes)).decode("utf-8")
    return await _page(request, parts, visit, text)


@router.post("/constitutions/new")
async def act(request: Request, visit: Everyone, parts: Parts, form: Form) -> Response:
    """Check, try or publish what is written."""
    text, act = text_of(form, "text"), text_of(form, "act")
    if act == "try":
        return await _try(request, parts, visit, form, text)
    if act == "publish":
        try:
            content = text.encode()
            caller = visit_admin(visit)
            answer = await only_once(
                parts, visit, form, Summary, lambda once: api.publish(caller, parts, once, content, Response())
            )
        except (InputError, Refusal) as error:
            return await _page(request, parts, visit, text, problem=problems.of(error).public())
        return RedirectResponse(f"/constitutions/{answer.ref}", 303)
    return await _page(request, parts, visit, text)


@router.post("/constitutions/check")
async def check(request: Request, visit: Everyone, parts: Parts, form: Form) -> Response:
    """What is wrong with a text, as the part of the page that shows it: the page's script asks while one types."""
    checked = await _checked(request, parts, text_of(form, "text"))
    return render(request, "manage/editor_checked.html.j2", checked=checked)


def visit_admin(visit: Visit) -> Any:
    """The caller, who must be an administrator. Raises `Forbidden`."""
    if not visit.may("admin"):
        raise Forbidden("only an administrator publishes", "Ask one, with the text as it is.")
    return visit.caller


async def _checked(request: Request, parts: Service, text: str) -> api.Linted:
    await parts.constitutions.refresh()
    return await parts.figures.run(request, lambda stop: api.checked_text(parts.constitutions, text.encode(), stop))


async def _try(request: Request, parts: Service, visit: Visit, form: Any, text: str) -> Response:
    chosen = {name: text_of(form, name) for name in ("principle", "engine")}
    values = {"text": text, "principle": chosen["principle"], "engine": chosen["engine"] or None}
    try:
        trial = await tried(requested(TrialRequest, values), request, visit.caller, parts)
    except (InputError, Refusal, EngineError, RunStopped) as error:  # a judge may be away, or refuse
        return await _page(request, parts, visit, text, chosen=chosen, problem=problems.of(error).public())
    return await _page(request, parts, visit, text, chosen=chosen, trial=trial)


async def _page(
    request: Request,
    parts: Service,
    visit: Visit,
    text: str,
    *,
    problem: ProblemDocument | None = None,
    trial: Any = None,
    chosen: Mapping[str, str] | None = None,
) -> Response:
    return render(
        request,
        "manage/editor.html.j2",
        status=200 if problem is None else problem.status,
        text=text,
        checked=await _checked(request, parts, text),
        problem=problem,
        trial=trial,
        chosen=typed(chosen or {}),
        principles=await parts.figures.run(request, lambda stop: _principles(parts, text, stop)),
        engines=parts.engines.names,
        examples=MOST_EXAMPLES,
        number=new_number(),
        may_publish=visit.may("admin"),
        may_try=visit.may("feedback"),
    )


def _principles(parts: Service, text: str, stop: Stop) -> list[tuple[str, str]]:
    """The principles of a text that can be read: ids and titles."""
    try:
        constitution = parts.constitutions.checked(text.encode(), stop.check)
    except InputError:
        return []
    return [(one.id, one.title) for one in constitution.principles]
