"""Feedback on its way out of the database: filters, each with an index, and the records as they were stored."""

import re
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, computed_field
from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, Select, func, select

from critic.feedback import Feedback, Flag, Kind, Source
from critic.feedback.feedback import Seconds
from critic.records import Response
from service.labels.label_form import GIVEN
from service.store.tables import feedback, items, retractions

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

LAST = 2**63 - 1  # the highest number that a row can have


def _written(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value)):
        return value
    raise ValueError("expected a time with its zone, such as 2026-11-23T12:00:00Z")


Time = Annotated[AwareDatetime, BeforeValidator(_written)]
"""A time as it is documented. Pydantic alone would also take a number, as seconds since 1970."""
KeptTime = Annotated[Time, Field(gt=EARLIEST, lt=LATEST)]
"""One that is stored: read in another zone, the first and last times that can be written are in no year."""

Short = Annotated[str, Field(max_length=200)]


class FeedbackFilter(BaseModel):
    """Which feedback: all that is named has to hold.

    ``item`` stands for a prompt with its responses in whatever order; ``flagged`` chooses the labels whose annotator
    asked someone to look at them, or the others. ``since`` begins with the first label that is
    dated then or later, ``until`` ends with the last that is dated before; between these all labels are chosen, in the
    order in which they were stored. Where clocks agree that is what their dates say. Where a server's clock was wrong
    or went back, labels beside it may be chosen too, and none is left out.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "comparison"}]})

    kind: Kind | None = None
    source: Source | None = None
    annotator: Short | None = None
    group: Short | None = None
    constitution: Short | None = None
    project: Short | None = None
    item: Short | None = None
    job: Short | None = None
    flagged: bool | None = None
    since: Time | None = None
    until: Time | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What the rows of the table ``feedback`` must fulfil."""
        names = ("kind", "source", "annotator", "group", "constitution", "project", "item", "job")
        conditions = [feedback.c[name] == value for name in names if (value := getattr(self, name)) is not None]
        if self.flagged is not None:
            conditions.append(feedback.c.flag.is_not(None) if self.flagged else feedback.c.flag.is_(None))
        if self.since is not None:
            conditions.append(feedback.c.seq >= _first_since(self.since))
        if self.until is not None:
            conditions.append(feedback.c.seq <= _last_until(self.until))
        return conditions


class Retraction(BaseModel):
    """That a label was withdrawn, or corrected by another. It is kept, and plays no part in data sets and figures."""

    model_config = ConfigDict(frozen=True)

    reason: str
    at: datetime
    replaced_by: str | None = None


class StoredFeedback(Feedback):
    """Feedback with what the service knows of it.

    ``shown`` is the order in which the annotator saw the responses, by position: responses and label here are in the
    item's own order. ``replaces`` is the id of the label that this one corrects.
    """

    seconds: Seconds | None = None
    flag: Flag | None = None
    id: str
    created_at: datetime
    project: str | None = None
    task: str | None = None
    job: str | None = None
    shown: tuple[int, ...] | None = None
    replaces: str | None = None
    retracted: Retraction | None = None

    def plain(self) -> Feedback:
        """The feedback alone, as `critic.feedback` and file formats know it."""
        return Feedback.model_construct(**{name: getattr(self, name) for name in Feedback.model_fields})

    def as_its_annotator_saw_it(self) -> Self:
        """This without what its annotator was not shown: who wrote which response, and which stands first."""
        order = self.shown or tuple(range(len(self.responses)))
        blind = [Response(text=self.responses[place].text, model=GIVEN, finish="given") for place in order]
        label = self.label.reordered(order)
        return self.model_copy(update={"responses": tuple(blind), "label": label, "shown": None})

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no cached_property here
    @cached_property
    def item(self) -> str:
        """See `Feedback.item`."""
        return super().item


ENVELOPE = ("id", "kind", "source", "annotator", "group", "constitution", "constitution_hash", "principle")
ABOUT = ("project", "task", "job", "label", "shown", "seconds", "flag", "replaces", "created_at")
WITHDRAWN = (retractions.c.reason, retractions.c.at, retractions.c.replaced_by)
RETRACTED = retractions.c.seq.is_not(None)


def selected() -> Select[Any]:
    """All feedback, each row as `stored` reads it."""
    columns = [feedback.c[name] for name in ("seq", "item", *ENVELOPE, *ABOUT)]
    return (
        select(*columns, items.c.prompt, items.c.responses, *WITHDRAWN)
        .join(items, feedback.c.content == items.c.id)
        .join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)
    )


def numbers() -> Select[tuple[int]]:
    """The numbers of all feedback: for who reads its texts a few at a time."""
    return select(feedback.c.seq).join(retractions, feedback.c.seq == retractions.c.seq, isouter=True)


def stored(row: RowMapping) -> StoredFeedback:
    """Build the record of a row of `selected`."""
    known = {name: row[name] for name in (*ENVELOPE, *ABOUT, "prompt", "responses")}
    return StoredFeedback.model_validate(known | {"retracted": retracted(row)})


def retracted(row: RowMapping) -> dict[str, Any] | None:
    """What the columns `WITHDRAWN` say of a label; None where it was not withdrawn."""
    return None if row["at"] is None else {column.name: row[column.name] for column in WITHDRAWN}


def _first_since(moment: datetime) -> ScalarSelect[int]:
    """The lowest number of a row of this time or later; above all numbers where there is none."""
    other = feedback.alias()
    query = select(func.coalesce(func.min(other.c.seq), LAST)).where(other.c.created_at >= max(moment, EARLIEST))
    return query.scalar_subquery()


def _last_until(moment: datetime) -> ScalarSelect[int]:
    """The highest number of a row from before this time; below all numbers where there is none."""
    other = feedback.alias()
    query = select(func.coalesce(func.max(other.c.seq), 0)).where(other.c.created_at < min(moment, LATEST))
    return query.scalar_subquery()
