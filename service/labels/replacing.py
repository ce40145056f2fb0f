"""Labels that correct others: what may take the place of what, so that of each label one version counts.

The earlier one is kept, with a retraction that names the later. So all that leaves out retracted labels uses the
newest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from critic.feedback import Feedback
from service.labels.labels import Replaced
from service.store.database import Database
from service.store.tables import feedback, retractions

CHUNK = 200  # ids of a query
MOST_VERSIONS = 1000  # of one label that are told

_COLUMNS = [feedback.c[name] for name in ("id", "seq", "kind", "item", "source", "annotator", "task")]


@dataclass(frozen=True, slots=True)
class Corrected:
    """A label, and the id of the one that it corrects."""

    label: Feedback
    replaces: str


async def find(database: Database, given: Mapping[int, Corrected]) -> dict[int, Replaced | str]:
    """Return by position what each label replaces, or a sentence that says why it can't."""
    ids = sorted({corrected.replaces for corrected in given.values()})
    rows: dict[str, Row[Any]] = {}
    for start in range(0, len(ids), CHUNK):
        query = select(*_COLUMNS, retractions.c.seq.label("withdrawn"), retractions.c.replaced_by)
        query = query.join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)
        async with database.read() as connection:
            part = await connection.execute(query.where(feedback.c.id.in_(ids[start : start + CHUNK])))
            rows |= {row.id: row for row in part}
    times = Counter(corrected.replaces for corrected in given.values())
    answers: dict[int, Replaced | str] = {}
    for position, corrected in given.items():
        id = corrected.replaces
        if (row := rows.get(id)) is None:
            answers[position] = f"there is no feedback {id!r}"
        elif times[id] > 1:
            answers[position] = f"{times[id]} labels correct {id!r}; one can"
        else:
            answers[position] = _problem(corrected.label, row) or Replaced(id, row.seq)
    return answers


def _problem(label: Feedback, row: Row[Any]) -> str:
    """Return why ``label`` can't take the place of the label of ``row``; nothing where it can."""
    if row.replaced_by is not None:
        return f"{row.id!r} was corrected already, by {row.replaced_by!r}: name that one"
    if row.withdrawn is not None:
        return f"{row.id!r} was withdrawn; give the label without replaces"
    if row.task is not None:
        return f"{row.id!r} answers a task, and is corrected there: POST /v1/tasks/{row.task}/answer"
    differing = [name for name in ("kind", "item", "source", "annotator") if getattr(row, name) != getattr(label, name)]
    if differing:
        return f"a correction is of the same {' and '.join(differing)} as what it corrects, {row.id!r}"
    return ""


async def versions(connection: AsyncConnection, id: str) -> list[str]:
    """Return the ids of all versions of the label ``id``, the oldest first; none where there is no such label.

    Of a label that was corrected more than `MOST_VERSIONS` times, the last before this one are told.
    """
    known: list[str] = []
    earlier = await _ids(connection, feedback.c.id == id)
    while earlier and len(known) < MOST_VERSIONS:
        known.insert(0, earlier[0].id)
        earlier = await _ids(connection, feedback.c.id == earlier[0].replaces)
    while known and len(known) < MOST_VERSIONS:
        later = await _ids(connection, feedback.c.replaces == known[-1])
        if not later:
            break
        known.append(later[0].id)
    return known


async def _ids(connection: AsyncConnection, condition: ColumnElement[bool]) -> Sequence[Any]:
    return (await connection.execute(select(feedback.c.id, feedback.c.replaces).where(condition))).all()
