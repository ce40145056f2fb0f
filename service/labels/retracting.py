"""Labels that are withdrawn: kept, marked, and of no account any more. The task that one answered is open again."""

from sqlalchemy import select

from service.keys.auth import Caller, audited
from service.labels.label_query import StoredFeedback, selected, stored
from service.labels.tasks import tasking
from service.refusals import not_found
from service.store.database import Database, insert_rows
from service.store.tables import feedback, now, retractions


async def get(database: Database, id: str) -> StoredFeedback:
    """Return one label. Raises `NotFound`."""
    async with database.read() as connection:
        row = (await connection.execute(selected().where(feedback.c.id == id))).mappings().one_or_none()
    if row is None:
        raise not_found("feedback", id)
    return stored(row)


async def retract(database: Database, id: str, reason: str, caller: Caller) -> StoredFeedback:
    """Withdraw a label that is there, and return it. One that is withdrawn already stays as it is."""
    async with database.transaction() as connection:
        query = select(feedback.c.seq, feedback.c.task).where(feedback.c.id == id).with_for_update()
        row = (await connection.execute(query)).one()
        there = select(retractions.c.seq).where(retractions.c.seq == row.seq)
        if (await connection.execute(there)).first() is None:
            entry = {"seq": row.seq, "reason": reason, "key": caller.key, "at": now()}
            await connection.run_sync(insert_rows, {retractions: [entry], **audited(caller, "feedback.retracted", id)})
            if row.task is not None:
                await connection.run_sync(tasking.reopen, row.task, id)
    return await get(database, id)
