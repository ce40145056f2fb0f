"""The first task of a project, as annotators will see it: shuffled, and without the names of models."""

from service.context import Service
from service.labels.tasks import task_rows
from service.web.label.kinds import PAGES
from service.web.label.sheet import Sheet, unanswered

LOOKER = "preview"  # stands for an annotator, whose order of responses is their own


async def first_sheet(parts: Service, project: str) -> Sheet | None:
    """The sheet of a project's first task; None where it has none yet, or none that has a page."""
    asked, row = await task_rows.first(parts.database, project)
    if row is None or asked["kind"] not in PAGES:
        return None
    return await unanswered(parts, asked, row, LOOKER)
