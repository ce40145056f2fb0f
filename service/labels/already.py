"""Labels that are stored already: what is imported again is not stored again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from base.digest import digest
from critic.feedback import Feedback
from critic.feedback.same import same_label
from service.labels.label_query import selected, stored
from service.store.database import Database
from service.store.tables import annotators, feedback

CHUNK = 200  # items of a query


@dataclass(frozen=True, slots=True)
class Numbered:
    """A label, and which of several equal ones it is, from 1: five thumbs of people without names are five labels."""

    label: Feedback
    nth: int


async def find(database: Database, given: Mapping[int, Numbered]) -> tuple[dict[int, str], dict[int, str]]:
    """Return the ids of those that are stored already, and the ids that the others must be stored under.

    An id is the label's content and number, so that two imports at the same time can't both store it.
    """
    labels = [numbered.label for numbered in given.values()]
    known = await _stored(database, sorted({label.item for label in labels}))
    names = await _names(database, labels)
    there: dict[int, str] = {}
    new: dict[int, str] = {}
    for position, numbered in given.items():
        key = same_label(numbered.label, _called(numbered.label, names))
        ids = known.get(key, ())
        if numbered.nth <= len(ids):
            there[position] = ids[numbered.nth - 1]
        else:
            new[position] = digest(["imported", key, numbered.nth])[:32]
    return there, new


async def _stored(database: Database, items: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of all labels of ``items``, by what they say, in the order in which they were stored."""
    labels = []
    for start in range(0, len(items), CHUNK):
        query = selected().where(feedback.c.item.in_(items[start : start + CHUNK])).order_by(feedback.c.seq)
        async with database.read() as connection:
            labels += [stored(row) for row in (await connection.execute(query)).mappings()]
    names = await _names(database, labels)
    known: dict[str, list[str]] = {}
    for label in labels:
        known.setdefault(same_label(label.plain(), _called(label, names)), []).append(label.id)
    return known


async def _names(database: Database, labels: Sequence[Feedback]) -> dict[str, str]:
    """Return what people are called, by their ids: the same labels may have come as a judge's of that name."""
    ids = sorted({label.annotator for label in labels if label.source == "human" and label.annotator is not None})
    names: dict[str, str] = {}
    for start in range(0, len(ids), CHUNK):
        query = select(annotators.c.id, annotators.c.name).where(annotators.c.id.in_(ids[start : start + CHUNK]))
        async with database.read() as connection:
            names |= {row.id: row.name for row in (await connection.execute(query)) if row.name is not None}
    return names


def _called(label: Feedback, names: Mapping[str, str]) -> str | None:
    return None if label.annotator is None else names.get(label.annotator, label.annotator)
