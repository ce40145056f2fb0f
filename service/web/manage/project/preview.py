"""The first task of a project, as annotators will see it: shuffled, and without the names of models."""

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.records import Prompt
from service.labels.tasks.shown import order
from service.store.tables import items, tasks


class Preview(BaseModel):
    """What is shown of a task."""

    prompt: Prompt
    responses: list[str]


async def first_task(connection: AsyncConnection, project: str) -> Preview | None:
    """Return a project's first task; None where it has none yet."""
    query = select(tasks.c.id, items.c.prompt, items.c.responses).join(items, tasks.c.content == items.c.id)
    query = query.where(tasks.c.project == project).order_by(tasks.c.position).limit(1)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    texts = [response["text"] for response in row.responses]
    shown = order(row.id, "preview", len(texts))
    return Preview(prompt=Prompt.model_validate(row.prompt), responses=[texts[place] for place in shown])
