"""Labels as the text that goes out: the database puts it together of what is stored, which is not parsed again.

A page of 500 labels is one value of one row. The database makes it outside Python's lock, so that who reads much holds
up nobody who writes. A page ends by labels and by bytes: what a label holds is measured before its text is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, func, literal_column, select

from service.labels.label_query import RETRACTED
from service.store.tables import feedback, items, retractions

PAGE_BYTES = 4 * 2**20
"""Of a page: so much is sent in a moment, and some dozens who read slowly don't fill a small machine."""

NAMES = (
    *("id", "kind", "source", "item", "annotator", "group", "constitution", "constitution_hash", "principle"),
    *("project", "task", "job", "seconds", "replaces"),
)
LONG = {"label": "feedback.label", "prompt": "items.prompt", "responses": "items.responses"}
"""What is JSON already."""

Conditions = Sequence[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class LabelPage:
    """Labels as a JSON array, and the number of the last where more follow."""

    items: str
    last: int | None


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a database writes JSON: what takes the place of ``{0}`` is a column, or what was made of some."""

    formatted: str  # a function that puts texts in the places of %s, at once: joining them one by one copies each often
    quoted: str
    second: str  # of microseconds since 1970, as RFC 3339 writes it
    fraction: str
    size: str  # bytes
    joined: str


_SQLITE = _Dialect(
    formatted="printf",
    quoted="json_quote({0})",
    second="strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch')",
    fraction="printf('%06d', {0} % 1000000)",
    size="length(CAST({0} AS BLOB))",  # a text's length alone is in characters
    joined="group_concat({0}, ',')",  # in the order of the rows below it
)
_POSTGRES = _Dialect(
    formatted="format",
    quoted="coalesce(CAST(to_json({0}) AS TEXT), 'null')",
    second="to_char(to_timestamp({0} / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')",
    fraction="lpad(CAST({0} % 1000000 AS TEXT), 6, '0')",
    size="octet_length(CAST({0} AS TEXT))",
    joined="string_agg({0}, ',' ORDER BY seq)",
)


def page(
    connection: Connection, conditions: Conditions, *, after: int, limit: int, retracted: bool | None = None
) -> LabelPage:
    """Return the labels after number ``after`` that fulfil all conditions: ``limit``, or fewer where they are long.

    Those that were retracted are among them, unless ``retracted`` asks for these or for the others alone.
    """
    of, place = _of(connection), retractions.c.seq if retracted else feedback.c.seq
    chosen = [*conditions, place > after]
    if retracted is not None:
        chosen.append(RETRACTED if retracted else ~RETRACTED)
    cut = connection.execute(_cut(of, place, chosen, limit)).one()
    if not cut.there:
        return LabelPage("[]", None)
    taken = _joined(select(feedback.c.seq, _object(of).label("text"))).where(*chosen, place <= cut.last)
    whole: ColumnElement[str | None] = literal_column(of.joined.format("text"))
    query = select(whole).select_from(taken.order_by(place).subquery("taken"))
    text: str | None = connection.execute(query).scalar_one()  # nothing where all were retracted just now
    return LabelPage(f"[{text or ''}]", cut.last if cut.there > cut.taken else None)


def one(connection: Connection, id: str) -> str | None:
    """The text of one label; None where there is none of this id."""
    query = _joined(select(_object(_of(connection)))).where(feedback.c.id == id)
    text: str | None = connection.execute(query).scalar_one_or_none()
    return text


def latest(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Return the texts of labels in their order: the last ones, where all are more than a page may have."""
    texts: list[str] = []
    left = PAGE_BYTES
    for id in reversed(ids):
        text = one(connection, id) or ""
        left -= len(text.encode())
        if left < 0 and texts:
            break
        texts.insert(0, text)
    return texts


def bytes_of(dialect: str) -> ColumnElement[int]:
    """The bytes of a label with the texts that it is about, in a query of ``feedback`` that is joined to ``items``."""
    of = _SQLITE if dialect == "sqlite" else _POSTGRES
    return literal_column(" + ".join(of.size.format(column) for column in LONG.values()))


def _of(connection: Connection) -> _Dialect:
    return _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES


def _cut(of: _Dialect, place: Any, chosen: Conditions, limit: int) -> Select[Any]:
    """One row: the last number of the page, how many labels it has, and how many there would be."""
    size = bytes_of("sqlite" if of is _SQLITE else "postgresql").label("size")
    sized = _joined(select(place.label("seq"), size)).where(*chosen).order_by(place).limit(limit + 1)
    each = sized.cte()
    number = func.row_number().over(order_by=each.c.seq).label("number")
    total = func.sum(each.c.size).over(order_by=each.c.seq).label("total")
    counted = select(each.c.seq, number, total).subquery()
    # One label goes out however long it is: a page without any would be the end.
    fits = (counted.c.number <= limit) & ((counted.c.total <= PAGE_BYTES) | (counted.c.number == 1))
    there = select(func.count()).select_from(each).scalar_subquery().label("there")
    return select(func.max(counted.c.seq).label("last"), func.count().label("taken"), there).where(fits)


def _joined(query: Select[Any]) -> Select[Any]:
    query = query.select_from(feedback).join(items, feedback.c.content == items.c.id)
    return query.join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)


@cache
def _object(of: _Dialect) -> ColumnElement[str]:
    """One label as `service.labels.label_query.StoredFeedback` is written."""
    members = {name: of.quoted.format(f'feedback."{name}"') for name in NAMES}
    members["created_at"] = _moment(of, "feedback.created_at")
    members["shown"] = "coalesce(CAST(feedback.shown AS TEXT), 'null')"
    members["flag"] = "coalesce(CAST(feedback.flag AS TEXT), 'null')"
    withdrawn = {name: of.quoted.format(f"retractions.{name}") for name in ("reason", "replaced_by")}
    withdrawn["at"] = _moment(of, "retractions.at")
    members["retracted"] = f"CASE WHEN retractions.seq IS NULL THEN 'null' ELSE {_written(of, withdrawn)} END"
    members["where"] = "'\"\"'"  # a place in a file, of which nothing is stored
    members |= {name: f"CAST({column} AS TEXT)" for name, column in LONG.items()}
    return literal_column(_written(of, members), Text)


def _moment(of: _Dialect, column: str) -> str:
    return f"{of.formatted}('\"%s.%sZ\"', {of.second.format(column)}, {of.fraction.format(column)})"


def _written(of: _Dialect, members: dict[str, str]) -> str:
    form = ",".join(f'"{name}":%s' for name in members)
    return f"{of.formatted}('{{{form}}}', {', '.join(members.values())})"
