"""What the judge is least sure of: comparisons nearest to even odds, which nobody has labelled yet."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Float, Select, cast, func, select

from service.labels.label_query import RETRACTED, Short
from service.store.tables import feedback, items, retractions

SHOWN_CHARACTERS = 300  # of each text, in a list
MOST = 500
ROWS_READ = 8  # that are in memory at once: each may have megabytes, of which little is shown


class UncertainQuery(BaseModel):
    """Of which judge, job or constitution."""

    model_config = ConfigDict(extra="forbid")

    judge: Short | None = None
    job: Short | None = None
    constitution: Short | None = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50


class Uncertain(BaseModel):
    """A comparison. ``probability`` is the judge's that the first response is better."""

    item: str
    label: str
    judge: str | None
    constitution: str | None
    probability: float
    prompt: str
    responses: list[str]


def least_sure(connection: Connection, asked: UncertainQuery) -> list[Uncertain]:
    """Return the comparisons whose probability is nearest to a half, those first; each item once.

    Items that a person has compared are left out. It looks at each of the judge's comparisons: for the lane of figures.
    """
    rows = connection.execute(_query(asked), execution_options={"yield_per": ROWS_READ})
    return [
        Uncertain(
            item=row.item,
            label=row.id,
            judge=row.annotator,
            constitution=row.constitution,
            probability=row.probability,
            prompt=_asked(row.prompt)[:SHOWN_CHARACTERS],
            responses=_shown(row.responses),
        )
        for row in rows
    ]


def _query(asked: UncertainQuery) -> Select[Any]:
    probability = cast(feedback.c.label["probability"].as_string(), Float)
    distance = func.abs(probability - 0.5)
    wanted = {"annotator": asked.judge, "job": asked.job, "constitution": asked.constitution}
    person = feedback.alias()
    labelled = select(person.c.item).where(person.c.source == "human", person.c.kind == "comparison")
    each = (
        select(
            feedback.c.seq,
            probability.label("probability"),
            distance.label("distance"),
            func.row_number().over(partition_by=feedback.c.item, order_by=(distance, feedback.c.seq)).label("nth"),
        )
        .join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
        .where(feedback.c.source == "ai", feedback.c.kind == "comparison", ~RETRACTED, probability.is_not(None))
        .where(feedback.c.item.not_in(labelled))
        .where(*(feedback.c[name] == value for name, value in wanted.items() if value is not None))
        .subquery()
    )
    columns = [feedback.c[name] for name in ("item", "id", "annotator", "constitution")]
    return (
        select(*columns, each.c.probability, items.c.prompt, items.c.responses)
        .join(each, each.c.seq == feedback.c.seq)
        .join(items, items.c.id == feedback.c.content)
        .where(each.c.nth == 1)
        .order_by(each.c.distance, feedback.c.seq)
        .limit(asked.limit)
    )


def _shown(responses: Any) -> list[str]:
    return [response["text"][:SHOWN_CHARACTERS] for response in responses]


def _asked(prompt: Any) -> str:
    """The text of a stored prompt's last message."""
    content = prompt["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content)
