"""Labels that are stored already: what is imported again is not stored again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from base.digest import digest
from critic.feedback import Feedback
from critic.feedback.same import same_label
from service.bounds.lanes import Lane, Stop
from service.labels.label_query import selected, stored
from service.labels.snapshot import Snapshots
from service.store.tables import annotators, feedback

CHUNK = 200  # items of a query
ROWS_READ = 8  # that are in memory at once: each may have megabytes


@dataclass(frozen=True, slots=True)
class Numbered:
    """A label, and which of several equal ones it is, from 1: five thumbs of people without names are five labels."""

    label: Feedback
    nth: int


async def find(
    snapshots: Snapshots, lane: Lane, given: Mapping[int, Numbered]
) -> tuple[dict[int, str], dict[int, str]]:
    """Return the ids of those that are stored already, and the ids that the others must be stored under.

    An id is the label's content and number, so that two imports at the same time can't both store it. All labels of
    an item are looked at, and there is no end to how many these are: so it takes its turn in a ``lane``.
    """
    if not given:
        return {}, {}
    return await lane.run(None, lambda stop: _found(snapshots, given, stop))


def _found(snapshots: Snapshots, given: Mapping[int, Numbered], stop: Stop) -> tuple[dict[int, str], dict[int, str]]:
    labels = [numbered.label for numbered in given.values()]
    with snapshots.open(stop) as connection:
        known = _stored(connection, sorted({label.item for label in labels}), stop)
        names = _names(connection, {label.annotator for label in labels if label.source == "human"})
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


def _stored(connection: Connection, items: Sequence[str], stop: Stop) -> dict[str, list[str]]:
    """Return the ids of all labels of ``items``, by what they say, in the order in which they were stored."""
    known: dict[str, list[str]] = {}
    for start in range(0, len(items), CHUNK):
        chosen = (feedback.c.item.in_(items[start : start + CHUNK]),)
        people = select(feedback.c.annotator).where(*chosen, feedback.c.source == "human").distinct()
        names = _names(connection, set(connection.execute(people).scalars()))
        query = selected().where(*chosen).order_by(feedback.c.seq)
        with connection.execute(query, execution_options={"yield_per": ROWS_READ}) as rows:
            for label in map(stored, stop.watched(rows.mappings())):
                known.setdefault(same_label(label.plain(), _called(label, names)), []).append(label.id)
    return known


def _names(connection: Connection, people: Iterable[str | None]) -> dict[str, str]:
    """Return what people are called, by their ids: the same labels may have come as a judge's of that name."""
    ids = sorted({id for id in people if id is not None})
    names: dict[str, str] = {}
    for start in range(0, len(ids), CHUNK):
        query = select(annotators.c.id, annotators.c.name).where(annotators.c.id.in_(ids[start : start + CHUNK]))
        names |= {row.id: row.name for row in connection.execute(query) if row.name is not None}
    return names


def _called(label: Feedback, names: Mapping[str, str]) -> str | None:
    return None if label.annotator is None else names.get(label.annotator, label.annotator)
