"""The first task of a project, as annotators will see it: shuffled, and without the names of models."""

from sqlalchemy import RowMapping, select

from service.context import Service
from service.labels.tasks import roles
from service.store.tables import items, projects, tasks
from service.web.label.kinds import PAGES
from service.web.label.sheet import Sheet, unanswered

LOOKER = "preview"  # stands for an annotator, whose order of responses is their own


async def first_sheet(parts: Service, project: str) -> Sheet | None:
    """The sheet of a project's first task; None where it has none yet, or none that has a page."""
    query = select(tasks.c.id, items.c.prompt, items.c.responses).join(items, tasks.c.content == items.c.id)
    query = query.where(tasks.c.project == project, tasks.c.role == roles.WORK).order_by(tasks.c.position).limit(1)
    async with parts.database.read() as connection:
        row = (await connection.execute(query)).mappings().one_or_none()
        asked: RowMapping = (
            (await connection.execute(select(projects).where(projects.c.id == project))).mappings().one()
        )
    if row is None or asked["kind"] not in PAGES:
        return None
    return await unanswered(parts, asked, row, LOOKER)
