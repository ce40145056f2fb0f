"""One state of the database, read from a thread: for long work, which the event loop has nothing to do with.

All that is read of one snapshot fits together, whatever is stored or retracted meanwhile.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from base.errors import InputError
from critic.records import Prompt, Response
from service.bounds.lanes import Stop
from service.bounds.text_bounds import TextBounds
from service.labels.label_query import ABOUT, ENVELOPE, WITHDRAWN, StoredFeedback, retracted
from service.store.connecting import reading_engine
from service.store.tables import feedback, items, retractions

ROWS_READ = 32  # labels that are in memory at once, beside those of one item
STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's machine: a few milliseconds
READ_AT_ONCE = 2  # threads: each takes a core for some milliseconds
ITEM_BYTES = 64 * 2**20  # of all labels of one item, which are in memory together

_COLUMNS = [feedback.c[name] for name in ("seq", "item", "content", *ENVELOPE, *ABOUT)]

T = TypeVar("T")
Content = tuple[Prompt, tuple[Response, ...]]


class Snapshots:
    """Gives snapshots of one database, and threads for what reads one in a moment."""

    def __init__(self, url: URL) -> None:
        self._threads = ThreadPoolExecutor(READ_AT_ONCE, "reads")
        self._engine = reading_engine(url)

    def close(self) -> None:
        """Close all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    @contextmanager
    def open(self, stop: Stop | None = None) -> Iterator[Connection]:
        """A connection that only reads, and sees one state until the end of the ``with``.

        Where there is a ``stop``, a question to the database ends with it, too, however long it takes.
        """
        with self._engine.connect() as connection, connection.begin():
            if stop is None:
                yield connection
            else:
                with _ended_by(stop, connection):
                    yield connection

    async def read(self, use: Callable[[Connection], T]) -> T:
        """Return what ``use`` makes of a snapshot, in one go: each of its questions would wait for the event loop."""

        def work() -> T:
            with self.open() as connection:
                return use(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@contextmanager
def _ended_by(stop: Stop, connection: Connection) -> Iterator[None]:
    """Let ``stop`` end the questions to the database; what it raises takes the place of the database's own fault."""
    ended = _on_sqlite if connection.dialect.name == "sqlite" else _on_postgres
    with ended(stop, connection):
        try:
            yield
        except OperationalError:
            stop.check()
            raise


@contextmanager
def _on_sqlite(stop: Stop, connection: Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: stop.is_over, STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


@contextmanager
def _on_postgres(stop: Stop, connection: Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    until = {"ms": f"{1000 * stop.left:.0f}"}
    connection.execute(text("SELECT set_config('statement_timeout', :ms, true)"), until)
    with stop.ending(threading.Thread(target=driver.cancel_safe, daemon=True).start):  # over a connection of its own
        yield


def labels_by_item(connection: Connection, chosen: Select[Any], stop: Stop) -> Iterator[StoredFeedback]:
    """Yield the labels whose numbers (`feedback.seq`) ``chosen`` selects, sorted by item and number.

    Labels of one item share its texts, which are read once. Raises `InputError` where the labels of one item are too
    much to be in memory together.
    """
    order = chosen.order_by(feedback.c.item, feedback.c.seq).execution_options(yield_per=500)
    with connection.execute(order) as numbers:  # who stops reading leaves no cursor open
        yield from _labels(connection, (number for (number,) in numbers), stop)


def _labels(connection: Connection, numbers: Iterator[int], stop: Stop) -> Iterator[StoredFeedback]:
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
