"""One state of the database, read from a thread: for long work, which the event loop has nothing to do with.

All that is read of one snapshot fits together, whatever is stored or retracted meanwhile.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, create_engine, event, select
from sqlalchemy.engine import URL

from base.errors import InputError
from critic.records import Prompt, Response
from service.bounds.lanes import Stop
from service.bounds.text_bounds import TextBounds
from service.labels.label_query import ABOUT, ENVELOPE, WITHDRAWN, StoredFeedback, retracted
from service.store.database import BUSY_SECONDS
from service.store.tables import feedback, items, retractions

ROWS_READ = 32  # labels that are in memory at once, beside those of one item
ITEM_BYTES = 64 * 2**20  # of all labels of one item, which are in memory together

_COLUMNS = [feedback.c[name] for name in ("seq", "item", "content", *ENVELOPE, *ABOUT)]

Content = tuple[Prompt, tuple[Response, ...]]


class Snapshots:
    """Gives snapshots of one database."""

    def __init__(self, url: URL) -> None:
        self._engine = _engine(url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """A connection that only reads, and sees one state until the end of the ``with``."""
        with self._engine.connect() as connection, connection.begin():
            yield connection


def labels_by_item(connection: Connection, chosen: Select[Any], stop: Stop) -> Iterator[StoredFeedback]:
    """Yield the labels whose numbers (`feedback.seq`) ``chosen`` selects, sorted by item and number.

    Labels of one item share its texts, which are read once. Raises `InputError` where the labels of one item are too
    much to be in memory together.
    """
    order = chosen.order_by(feedback.c.item, feedback.c.seq).execution_options(yield_per=500)
    numbers = (number for (number,) in connection.execute(order))
    known: dict[str, Content] = {}
    before, size = "", 0
    while portion := list(islice(numbers, ROWS_READ)):
        stop.check()
        for row in _rows(connection, portion):
            stop.check()
            if row["item"] != before:
                known, before, size = {}, row["item"], 0
            size += TextBounds.size(row["label"])
            if row["content"] not in known:
                known[row["content"]] = content = _content(connection, row["content"])
                size += TextBounds.size(content)
            if size > ITEM_BYTES:
                raise InputError(
                    f"the labels of the item {row['item']} have more than {ITEM_BYTES:,} bytes together",
                    where="item",
                    fix="Choose fewer of its labels, for example by kind, group or time.",
                )
            yield _record(row, known[row["content"]])


def _rows(connection: Connection, numbers: Sequence[int]) -> list[RowMapping]:
    query = select(*_COLUMNS, *WITHDRAWN)
    query = query.join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)
    rows = {row["seq"]: row for row in connection.execute(query.where(feedback.c.seq.in_(numbers))).mappings()}
    return [rows[number] for number in numbers]


def _content(connection: Connection, id: str) -> Content:
    row = connection.execute(select(items.c.prompt, items.c.responses).where(items.c.id == id)).one()
    return Prompt.model_validate(row.prompt), tuple(map(Response.model_validate, row.responses))


def _record(row: RowMapping, content: Content) -> StoredFeedback:
    prompt, responses = content
    known = {name: row[name] for name in (*ENVELOPE, *ABOUT)}
    about = {"prompt": prompt, "responses": responses, "retracted": retracted(row)}
    record = StoredFeedback.model_validate(known | about)
    record.__dict__["item"] = row["item"]  # which is not made again of all texts
    return record


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url,
            isolation_level="REPEATABLE READ",
            pool_pre_ping=True,
            execution_options={"postgresql_readonly": True},
        )
    engine = create_engine(url.set(drivername="sqlite"), connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
