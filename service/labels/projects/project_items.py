"""What a labelling project asks about: items given with it, or those that stored feedback is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from base.errors import InputError
from critic.feedback import KINDS, Kind
from critic.feedback.base import Form
from critic.feedback.feedback import SHOWS_NOTHING, blank_place
from critic.records import Item, Response
from service.bounds.text_bounds import TextBounds
from service.labels.label_form import PromptForm, ResponsesForm, faults_of, prompt_of, responses_of
from service.labels.label_query import FeedbackFilter
from service.labels.labels import content_of, item_of, new_id
from service.labels.tasks.roles import Role
from service.refusals import Fault, Invalid
from service.store.tables import feedback, items, retractions, tasks

MOST_ITEMS = 10_000
CHUNK = 500
ITEMS_AT_ONCE = 8  # of stored ones whose texts are in memory: each may be as long as a label


class ItemForm(BaseModel):
    """A prompt, and the responses to be labelled.

    Items with the ``role`` ``practice`` come before work begins, and are explained (``why``); ``gold`` ones come among
    the others, and nobody can tell. Both have the ``expected`` label, in the order of ``responses``.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "Name a river.", "responses": ["The Po.", "The Nile, of course."]}]},
    )

    prompt: PromptForm
    responses: ResponsesForm = []
    role: Role = "work"
    expected: dict[str, Any] | str | list[int | None] | float | None = None
    why: str = Field(default="", max_length=10_000)


class FromFeedback(BaseModel):
    """The items that stored feedback is about, the earliest first; labels that were retracted don't count."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filter": {"source": "ai"}}]})

    filter: FeedbackFilter = FeedbackFilter()
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS, strict=True)] = 1000


class ItemsRequest(BaseModel):
    """Items for a project, given here, taken ``from_feedback``, or ``stored`` ones by their ids, or all of these.

    Those that it has already are left out.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": [{"prompt": "Name a river.", "responses": ["The Po.", "Paris."]}]}]},
    )

    items: Annotated[list[ItemForm], Field(max_length=MOST_ITEMS), FailFast()] = []
    from_feedback: FromFeedback | None = None
    stored: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=1000)] = []


@dataclass(frozen=True, slots=True)
class ChosenItem:
    """An item that is to be a task, by its ids. ``row`` is what is stored of it; None where it is stored already."""

    item: str
    content: str
    row: dict[str, Any] | None = None
    role: Role = "work"
    expected: dict[str, Any] | None = None
    why: str = ""


async def gathered(
    connection: AsyncConnection, asked: ItemsRequest, kind: Kind, form: Form, texts: TextBounds
) -> list[ChosenItem]:
    """Return the items that ``asked`` names and that the kind can be about.

    Raises `Invalid` for one that was given and can't be labelled so; stored ones are then left out.
    """
    items = _given(asked.items, kind, form, texts)
    if asked.from_feedback is not None:
        items += await _stored(connection, asked.from_feedback, kind)
    return items + await _named(connection, asked.stored, kind)


async def new_rows(
    connection: AsyncConnection, project: str, chosen_items: Sequence[ChosenItem]
) -> Mapping[Any, Sequence[Mapping[str, Any]]]:
    """Return the rows that make ``chosen_items`` tasks of the project: each item once, and none that it has already."""
    by_item = {chosen.item: chosen for chosen in chosen_items}
    for start in range(0, len(by_item), CHUNK):
        part = list(by_item)[start : start + CHUNK]
        there = select(tasks.c.item).where(tasks.c.project == project, tasks.c.item.in_(part))
        for item in (await connection.execute(there)).scalars().all():
            del by_item[item]
    first = (await connection.execute(select(func.count()).where(tasks.c.project == project))).scalar_one()
    contents: dict[str, dict[str, Any]] = {}
    rows = []
    for position, (item, one) in enumerate(by_item.items(), first):
        if one.row is not None:
            contents[one.content] = one.row
        task = {"id": new_id(), "project": project, "position": position, "item": item}
        purpose = {"role": one.role, "expected": one.expected, "why": one.why or None}
        rows.append(task | purpose | {"content": one.content, "answers": 0})
    if not rows:
        return {}
    return {items: list(contents.values()), tasks: rows} if contents else {tasks: rows}


def tasks_of(rows: Mapping[Any, Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    """The tasks among the rows of `new_rows`."""
    return rows.get(tasks, ())


def _given(asked: Sequence[ItemForm], kind: Kind, form: Form, texts: TextBounds) -> list[ChosenItem]:
    chosen: list[ChosenItem] = []
    faults: list[Fault] = []
    for position, one in enumerate(asked):
        at = f"/items/{position}"
        if too_long := texts.faults(one, at):
            faults += too_long
            continue
        given = one.model_dump()
        try:
            item = Item.model_validate(
                {"prompt": prompt_of(given["prompt"]), "responses": responses_of(given["responses"])}
            )
            if (blank := blank_place(item.prompt, item.responses)) is not None:
                faults.append(Fault(where=at + blank, problem=SHOWS_NOTHING))
                continue
            KINDS[kind].fits(item.responses)
            expected = _expected(one, kind, form, item.responses)
            row = content_of(item.prompt, item.responses)
            id = item_of(item.prompt, item.responses)
            chosen.append(ChosenItem(id, row["id"], row, one.role, expected, one.why))
        except InputError as error:
            faults.append(Fault(where=f"{at}/expected", problem=error.problem))
        except ValidationError as error:
            faults += faults_of(error, at)
        except ValueError as error:
            faults.append(Fault(where=f"{at}/responses", problem=str(error)))
    if faults:
        detail, fix = f"{faults[0].where}: {faults[0].problem}", "Mend or leave out the items that are named."
        raise Invalid(detail, fix, faults=faults)
    return chosen


def _expected(one: ItemForm, kind: Kind, form: Form, responses: Sequence[Response]) -> dict[str, Any] | None:
    """The right label of practice and gold, complete. Raises `InputError` where it is missing, or can't be."""
    if one.role == "work":
        if one.expected is not None or one.why:
            raise InputError("only practice and gold have an expected label", fix="Give the item a role.")
        return None
    if one.expected is None:
        raise InputError(f"an item for {one.role} needs the label that is right")
    try:
        label = KINDS[kind].model_validate(KINDS[kind].complete(one.expected, form))
        label.fits_form(form)
        label.check(responses)
    except ValidationError as error:
        raise InputError(faults_of(error)[0].problem) from None
    except ValueError as error:
        raise InputError(str(error)) from None
    return label.model_dump(mode="json", exclude_defaults=True)


async def _stored(connection: AsyncConnection, asked: FromFeedback, kind: Kind) -> list[ChosenItem]:
    """The items of stored feedback: of 10,000 the ids are kept, and never all texts at once."""
    chosen = select(feedback.c.item, func.min(feedback.c.content).label("content"), func.min(feedback.c.seq).label("n"))
    chosen = chosen.join(retractions, retractions.c.seq == feedback.c.seq, isouter=True)
    chosen = chosen.where(*asked.filter.conditions(), retractions.c.seq.is_(None)).group_by(feedback.c.item)
    first = chosen.order_by(func.min(feedback.c.seq)).limit(asked.limit).subquery()
    query = select(first.c.item, first.c.content, items.c.responses).join(items, first.c.content == items.c.id)
    stored = []
    async with connection.stream(query.order_by(first.c.n), execution_options={"yield_per": ITEMS_AT_ONCE}) as rows:
        async for row in rows:
            responses = [Response.model_validate(response) for response in row.responses]
            if _fit(kind, responses):
                stored.append(ChosenItem(row.item, row.content))
    return stored


async def _named(connection: AsyncConnection, ids: Sequence[str], kind: Kind) -> list[ChosenItem]:
    """The items of these ids, as some label has them. Raises `Invalid` for one that can't be used."""
    chosen = []
    for position, id in enumerate(ids):
        query = select(feedback.c.content, items.c.responses).join(items, feedback.c.content == items.c.id)
        row = (await connection.execute(query.where(feedback.c.item == id).order_by(feedback.c.seq).limit(1))).first()
        if row is None:
            raise Invalid(
                f"no label is about an item {id!r}", "GET /v1/search finds them.", where=f"/stored/{position}"
            )
        if not _fit(kind, [Response.model_validate(response) for response in row.responses]):
            raise Invalid(f"the item {id} can't be labelled so", "Leave it out.", where=f"/stored/{position}")
        chosen.append(ChosenItem(id, row.content))
    return chosen


def _fit(kind: Kind, responses: Sequence[Response]) -> bool:
    try:
        KINDS[kind].fits(responses)
    except ValueError:
        return False
    return True
