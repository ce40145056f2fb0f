"""What somebody began to say of a task: kept on the server, too, so that no closed browser loses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from service.labels.tasks import tasking
from service.refusals import not_found
from service.store.tables import drafts, leases, now

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of a task's page, as they were at ``saved_at``."""

    fields: Fields
    saved_at: datetime


def save(connection: Connection, task: str, annotator: str, fields: Fields, replaces: str | None = None) -> None:
    """Keep a draft in the place of the one before. Raises `NotFound` for a task that the annotator never got.

    ``replaces`` is the answer that it began to correct. A draft that comes later than the answer which it led to, or
    than the skip, is of no use any more, and is left out: its page had sent it before.
    """
    # Whoever answers writes this row before they drop the draft: so none is saved between the two.
    lease = connection.execute(_LEASE, {"of_task": task, "of_annotator": annotator}).one_or_none()
    if lease is None:
        raise not_found("task", task)
    if lease.state == tasking.SKIPPED or lease.feedback != replaces:
        return
    drop(connection, task, annotator)
    row = {"task": task, "annotator": annotator, "fields": [list(field) for field in fields], "saved_at": now()}
    connection.execute(drafts.insert(), row)


def read(connection: Connection, task: str, annotator: str) -> Draft | None:
    """The draft of a task, if there is one."""
    row = connection.execute(_READ, {"of_task": task, "of_annotator": annotator}).one_or_none()
    return None if row is None else Draft([(name, value) for name, value in row.fields], row.saved_at)


def drop(connection: Connection, task: str, annotator: str) -> None:
    """Forget a draft, in the transaction that stores the answer or the skip, and after it closed the lease."""
    connection.execute(_DROP, {"of_task": task, "of_annotator": annotator})


_MINE = (drafts.c.task == bindparam("of_task"), drafts.c.annotator == bindparam("of_annotator"))
_READ = select(drafts).where(*_MINE)
_DROP = delete(drafts).where(*_MINE)
_HELD = (leases.c.task == bindparam("of_task"), leases.c.annotator == bindparam("of_annotator"))
_LEASE = select(leases.c.state, leases.c.feedback).where(*_HELD).with_for_update()
