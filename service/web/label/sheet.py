"""The sheet: one task as its annotator sees it, with what they said or began to say of it."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from critic.feedback.base import FormField
from critic.records import Message
from service.answers.tasks import OwnTask, Task
from service.context import Service
from service.labels.tasks import drafts, practising, roles, tasking
from service.labels.tasks.own_work import Before
from service.labels.tasks.shown import order
from service.refusals import Invalid, not_found
from service.store.database import Row
from service.web.label.fields import Fields, letters, one
from service.web.label.kinds import PAGES, Asked, KindPage
from service.web.rendering import texts

Sheet = dict[str, Any]
"""What the template ``label/sheet.html.j2`` shows: see there."""


def page_of(kind: str) -> KindPage:
    """The page of a kind. Raises 404 where it has none."""
    page = PAGES.get(kind)
    if page is None:
        raise not_found("page for the kind", kind, "Label such tasks through the API.")
    return page


async def asked_of(parts: Service, project: Row, responses: Sequence[str]) -> Asked:
    """What is asked in a project, of answers as they are shown."""
    bound = None if project["constitution"] is None else await parts.constitutions.get(project["constitution"])
    form = {field["name"]: FormField.model_validate(field) for field in project["form"]}
    return Asked(form, responses, bound, texts())


async def sheet_of(parts: Service, project: Row, task: Task, before: Before, given: Fields | None = None) -> Sheet:
    """The sheet of a task. What was just ``given`` goes first, then a draft, then the answer that stands."""
    answer = task.answer if isinstance(task, OwnTask) else None
    page, asked = page_of(project["kind"]), await asked_of(parts, project, task.responses)
    draft = before.draft if before.draft is not None and _can_be_shown(page, asked, before.draft) else None
    fields = _begun(page, given, draft, None if answer is None else answer.label)
    stands = None if answer is None or given is not None or draft is not None else answer.flag
    return {
        **_common(project, task.id, task.prompt, task.responses),
        **page.values(asked, fields),
        "previous": before.previous,
        "replaces": answer and answer.id,
        "is_skipped": isinstance(task, OwnTask) and task.state == tasking.SKIPPED,
        "skip_reasons": task.skip_reasons,
        "is_flagged": stands is not None or one(fields, "flag") == "yes",
        "flag_note": one(fields, "flag_note") if stands is None else stands.note,
        "skip_reason": one(fields, "reason"),
        "skip_note": one(fields, "skip_note"),
        "is_practice": False,
        "draft_saved": None if draft is None else _milliseconds(draft.saved_at),
    }


async def practice_sheet(
    parts: Service,
    project: Row,
    task: Row,
    annotator: str,
    where: practising.PracticeStanding,
    given: Fields = (),
) -> Sheet:
    """The sheet of a practice task."""
    number = {"is_practice": True, "number": where.tasks.index(task["id"]) + 1, "of": len(where.tasks)}
    return {**await unanswered(parts, project, task, annotator, given), **number}


async def unanswered(parts: Service, project: Row, task: Row, annotator: str, given: Fields = ()) -> Sheet:
    """A sheet of a task with its prompt and responses, of which nothing is stored."""
    shown = order(task["id"], annotator, len(task["responses"]))
    responses = [task["responses"][place]["text"] for place in shown]
    prompt = [Message.model_validate(message) for message in task["prompt"]["messages"]]
    values = page_of(project["kind"]).values(await asked_of(parts, project, responses), given)
    return {
        **_common(project, task["id"], prompt, responses),
        **values,
        "previous": None,
        "replaces": None,
        "is_skipped": False,
        "skip_reasons": [],
        "is_flagged": False,
        "flag_note": "",
        "skip_reason": "",
        "skip_note": "",
        "is_practice": False,
        "draft_saved": None,
    }


def _common(project: Row, task: str, prompt: Sequence[Message], responses: Sequence[str]) -> Sheet:
    return {
        "kind": project["kind"],
        "project": project["id"],
        "task": task,
        "once": secrets.token_urlsafe(12),
        "prompt": prompt,
        "responses": responses,
        "letters": letters(len(responses)),
        "has_differences": len(responses) == 2 and not page_of(project["kind"]).marks_words,
        "blurred": roles.settings_of(project["settings"]).blur,
    }


def _can_be_shown(page: KindPage, asked: Asked, draft: drafts.Draft) -> bool:
    """Whether the page can show a draft. One that no page of ours has sent must not keep anybody from the task."""
    try:
        page.values(asked, draft.fields)
    except Invalid:
        return False
    return True


def _begun(page: KindPage, given: Fields | None, draft: drafts.Draft | None, label: dict[str, Any] | None) -> Fields:
    if given is not None:
        return given
    if draft is not None:
        return draft.fields
    return () if label is None else page.fields(label)


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
