"""What a job's judges said, as feedback: the same records as people's, stored once however often this is done."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from base.digest import digest
from critic.feedback import Feedback, from_row
from critic.run.run import Finished
from service.bounds.portions import portions
from service.bounds.text_bounds import TextBounds
from service.jobs.work.ledger import JobStore
from service.labels import labels
from service.store.database import take_turn
from service.store.tables import feedback, items

LABELS_AT_ONCE = 500


def keep(store: JobStore, finished: Finished, texts: TextBounds) -> dict[str, Any]:
    """Store the labels of all ``finished`` rows of a job.

    Return how many there are, and the rows whose labels are too long, or can be held by no record (a judge that wrote a
    NUL character), with the reason.
    """
    count, refused = 0, dict[str, str]()
    given = _given(finished, texts, refused)
    for some in portions(given, LABELS_AT_ONCE, lambda one: texts.size(one[1])):
        contents, records = _records(store.job, some)
        store.now(partial(_insert, contents=contents, records=records))
        count += len(records)
    return {"stored": count, "refused": refused}


def _given(finished: Finished, texts: TextBounds, refused: dict[str, str]) -> Iterator[tuple[int, Feedback]]:
    """Each label with its row's number; those that can't be stored go to ``refused``."""
    for row in finished.rows():
        try:
            of_row = list(from_row(row, finished.provenance()))
        except ValidationError as error:
            refused[str(row.row)] = error.errors()[0]["msg"]
            continue
        too_long = next(chain.from_iterable(map(texts.faults, of_row)), None)
        if too_long is not None:
            refused[str(row.row)] = f"{too_long.where}: {too_long.problem}"
            continue
        yield from ((row.row, label) for label in of_row)


def _records(job: str, given: Sequence[tuple[int, Feedback]]) -> tuple[list[Mapping[str, Any]], list[dict[str, Any]]]:
    _, by_table = labels.rows([label for _, label in given], labels.Origin(job=job))
    # Named by what they say and where: what is done again gives none twice.
    ids = [digest(["job", job, row, label.model_dump(mode="json")])[:32] for row, label in given]
    records = [{**record, "id": id} for id, record in zip(ids, by_table[feedback], strict=True)]
    return sorted(by_table[items], key=lambda item: str(item["id"])), list({r["id"]: r for r in records}.values())


def _insert(connection: Connection, contents: Sequence[Mapping[str, Any]], records: Sequence[dict[str, Any]]) -> None:
    take_turn(connection)
    for table, rows in ((items, contents), (feedback, records)):
        if rows:
            connection.execute(_unless_there(connection, table), rows)


def _unless_there(connection: Connection, table: Table) -> Any:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing(index_elements=["id"])
