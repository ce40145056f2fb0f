"""Adjudication: a reviewer sees the labels of an item, decides, and says why; all of these stay.

A decision is a label like others, stored by the same rules; in data sets by majority it holds alone. It is no part of
agreement, since who decides has seen what the others said.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.feedback import KINDS, Feedback
from critic.feedback.feedback import Name
from critic.records import Prompt, Response
from service.keys.auth import Caller, audited
from service.labels import labels
from service.labels.label_form import faults_of
from service.labels.labels import Labels, must_say_something
from service.labels.tasks.answering import form_of
from service.refusals import Invalid, not_found
from service.store.tables import adjudications, feedback, items, now, projects, tasks


class AdjudicationRequest(BaseModel):
    """What is decided of an item, in the item's own order of its responses, and why. ``group``: for whom it holds."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"item": "3f2a", "label": "first", "reason": "The second invents a source."}]},
    )

    item: str = Field(max_length=64)
    label: dict[str, Any] | str | list[int | None] | float
    reason: str = Field(min_length=1, max_length=5000)
    group: Name | None = None


class Adjudication(BaseModel):
    """A decision. ``feedback`` is the id of the label that says it; ``holds`` is false where a later one is there."""

    feedback: str
    project: str
    item: str
    reason: str
    key: str | None
    at: datetime
    label: dict[str, Any]
    holds: bool


async def decide(
    connection: AsyncConnection, known: Labels, caller: Caller, project: str, asked: AdjudicationRequest
) -> tuple[Adjudication, Mapping[Any, Sequence[Mapping[str, Any]]]]:
    """Return a decision and the rows that store it. Raises `NotFound`, and `Invalid` for a label of another kind."""
    row, task = await _about(connection, project, asked.item)
    given = await _read(known, row, task, caller, asked)
    at = now()
    [id], rows = labels.rows([given], labels.Origin(key=caller.key, project=project), at)
    # An older version may have named the same content otherwise, and its name is what stands among the items.
    rows = {**rows, feedback: [{**rows[feedback][0], "content": task["content"]}]}
    entry: dict[str, Any] = {
        "feedback": id,
        "project": project,
        "item": asked.item,
        "reason": asked.reason,
        "key": caller.key,
        "at": at,
    }
    said = rows[feedback][0]["label"]
    audit = audited(caller, "item.decided", project, item=asked.item)
    return Adjudication(**entry, label=said, holds=True), {**rows, adjudications: [entry], **audit}


async def store(connection: AsyncConnection, rows: Mapping[Any, Sequence[Mapping[str, Any]]]) -> None:
    """Store what `decide` returned. The item is stored already: it is a task's."""
    for table, entries in rows.items():
        if table is not items:
            await connection.execute(insert(table), entries)


async def decisions(connection: AsyncConnection, project: str, item: str | None = None) -> list[Adjudication]:
    """The decisions of a project, or of one of its items, the newest first."""
    query = (
        select(adjudications, feedback.c.label)
        .join(feedback, feedback.c.id == adjudications.c.feedback)
        .where(adjudications.c.project == project)
        .order_by(feedback.c.seq.desc())
    )
    if item is not None:
        query = query.where(adjudications.c.item == item)
    given = []
    decided: set[str] = set()
    for row in (await connection.execute(query)).mappings():
        given.append(Adjudication.model_validate({**row, "holds": row["item"] not in decided}))
        decided.add(row["item"])
    return given


async def _about(connection: AsyncConnection, project: str, item: str) -> tuple[RowMapping, RowMapping]:
    row = (await connection.execute(select(projects).where(projects.c.id == project))).mappings().one_or_none()
    if row is None:
        raise not_found("project", project, "GET /v1/projects lists them.")
    query = select(items.c.prompt, items.c.responses, tasks.c.content).join(tasks, tasks.c.content == items.c.id)
    query = query.where(tasks.c.project == project, tasks.c.item == item)
    task = (await connection.execute(query)).mappings().one_or_none()
    if task is None:
        raise not_found("item", item, f"GET /v1/projects/{project}/tasks lists its items.")
    return row, task


async def _read(
    known: Labels, project: RowMapping, task: RowMapping, caller: Caller, asked: AdjudicationRequest
) -> Feedback:
    """The decision as feedback, by the rules of every answer."""
    form = form_of(project)
    known.texts.check(asked.label, "/label")
    try:
        given = Feedback(
            kind=project["kind"],
            prompt=Prompt.model_validate(task["prompt"]),
            responses=tuple(Response.model_validate(response) for response in task["responses"]),
            label=KINDS[project["kind"]].complete(asked.label, form),
            source="human",
            annotator=caller.annotator,
            group=asked.group,
            constitution=project["constitution"],
            constitution_hash=project["constitution_hash"],
        )
    except ValidationError as error:
        faults = faults_of(error)
        raise Invalid(f"{faults[0].where}: {faults[0].problem}", "See the project's form.", where="/label") from None
    must_say_something(label=given.label)
    given.label.fits_form(form)
    await known.must_be_principles(given)
    return given
