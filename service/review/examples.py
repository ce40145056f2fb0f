"""Stored comparisons as examples: what a judge can be tried on, with what was said of each."""

from collections.abc import Sequence

from sqlalchemy import case, func, select

from service.labels.label_query import RETRACTED, StoredFeedback, selected
from service.labels.label_text import PAGE_BYTES
from service.refusals import Invalid
from service.review.some_labels import first_labels
from service.store.database import Database
from service.store.tables import feedback, retractions

LOOKED_AT = 200  # labels, the newest, among which examples are looked for


async def comparisons(database: Database, items: Sequence[str], count: int) -> list[list[StoredFeedback]]:
    """The labels of each example: of these items, or of the ``count`` newest, people's before judges'.

    Raises `Invalid` for an item that no comparison is about.
    """
    async with database.read() as connection:
        if not items:
            recent = (
                select(feedback.c.item, feedback.c.source, feedback.c.seq)
                .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
                .where(feedback.c.kind == "comparison", ~RETRACTED)
                .order_by(feedback.c.seq.desc())
                .limit(LOOKED_AT)
                .subquery()
            )
            people = func.max(case((recent.c.source == "human", 1), else_=0))
            newest = select(recent.c.item).group_by(recent.c.item)
            newest = newest.order_by(people.desc(), func.max(recent.c.seq).desc()).limit(count)
            items = list((await connection.execute(newest)).scalars())
        examples = []
        for item in items:
            query = selected().where(feedback.c.item == item, feedback.c.kind == "comparison", ~RETRACTED)
            labels = await first_labels(connection, query.order_by(feedback.c.seq).limit(LOOKED_AT), PAGE_BYTES)
            if not labels:
                raise Invalid(f"no comparison is about an item {item!r}", "Leave items out.", where="/items")
            examples.append([label for _, label in labels])
    return examples
