"""Feedback of every kind, by people and by models: given once or in batches, read in pages, retracted, never changed.

A label says itself who sent it and when, so the audit doesn't repeat it; it holds retractions.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from base.errors import InputError
from critic.feedback import Feedback
from service.answers.feedback import BatchGiven, Given
from service.answers.page import Page
from service.api.body import StrictRoute
from service.api.paging import Cursor, Limit, encode, number
from service.context import LateOnce, Parts, allowed
from service.keys import access
from service.keys.auth import Caller
from service.labels import already, label_text, labels, replacing, retracting
from service.labels.label_form import FeedbackRequest, faults_of
from service.labels.label_query import FeedbackFilter, StoredFeedback
from service.problems import responses
from service.refusals import Conflict, Fault, Forbidden, Invalid, Refusal, not_found
from service.store.database import AlreadyThere, Rows
from service.store.repeats.idempotency import Once

router = APIRouter(prefix="/v1/feedback", tags=["feedback"], route_class=StrictRoute, responses=responses())
IS_BUSY = True

MOST_ROWS = 10_000
TRIES = 3  # of storing labels that another import stores at the same time
ID = re.compile("[0-9a-f]{1,64}")
BREATH = 100  # rows of a batch that are read before other requests have their turn

Giver = Annotated[Caller, allowed("feedback", "label")]
MayRead = Annotated[Caller, allowed(*access.LABELS)]
Reader = Callable[[Any], Awaitable[Feedback]]

Several = Annotated[list[FeedbackRequest], Field(min_length=1, max_length=MOST_ROWS)]
# Documented as what it is, and not validated here: each row is read by itself, so that a bad one costs only itself.
Asked = Annotated[FeedbackRequest | Several, WrapValidator(lambda value, _: value), Body()]


class Retract(BaseModel):
    """Why a label is withdrawn."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "I had read it too fast."}]})

    reason: str = Field(min_length=1, max_length=2000)


class FeedbackQuery(FeedbackFilter):
    """A page of feedback."""

    retracted: bool | None = None
    limit: Limit = 50
    cursor: Cursor = None


@router.post(
    "",
    status_code=201,
    response_model=Given | BatchGiven,
    responses=responses(409) | {207: {"model": BatchGiven, "description": "Some rows were stored, others refused"}},
)
async def give(asked: Asked, caller: Giver, parts: Parts, once: LateOnce, request: Request) -> JSONResponse:
    """Store one label, or a list of up to 10,000. When it is answered, it is on disk.

    A list whose rows are all good is answered with 201, one with bad rows among them with 207: the good ones are
    stored, and `faults` says what is wrong with the others. Where no row is good, nothing is stored (422). A key with
    the scope `label` may only label as its own annotator.
    """
    if caller.annotator is None and not caller.may("feedback"):
        fix = "Use a key that was made with one: POST /v1/keys."
        raise Forbidden(f"the key {caller.name!r} belongs to no annotator", fix)
    measured = parts.labels.texts.fit(await request.body())
    reader = partial(parts.labels.read, caller=caller, measured=measured, storable=True)  # as `StrictRequest` found
    try:
        async with parts.turns.labels:
            if isinstance(asked, list):
                return await _several(asked, reader, caller, parts, once)
            return await _one(asked, reader, caller, parts, once)
    except (Refusal, InputError):
        await once.replay()  # it may have been good when it came first
        raise


@router.get("", response_model=Page[StoredFeedback], responses=responses())
async def listed(query: Annotated[FeedbackQuery, Query()], caller: MayRead, parts: Parts) -> Response:
    """Feedback in the order in which it was stored, by filters. Retracted labels are among it, marked.

    A page may end before `limit` where labels are long: `next` says whether more follow. A field of a label that has
    its default is left out.
    """
    after = number(query.cursor) or 0
    chosen = query.conditions()
    async with parts.turns.pages:
        page = await parts.snapshots.read(
            lambda connection: label_text.page(
                connection, chosen, after=after, limit=query.limit, retracted=query.retracted
            )
        )
    following = "null" if page.last is None else f'"{encode(page.last)}"'
    return _json(f'{{"items":{page.items},"next":{following}}}')


@router.get("/{id}", response_model=StoredFeedback, responses=responses(404))
async def get(id: str, caller: MayRead, parts: Parts) -> Response:
    """One label, as in a page."""
    text = await parts.snapshots.read(lambda connection: label_text.one(connection, id))
    if text is None:
        raise not_found("feedback", id)
    return _json(text)


@router.get("/{id}/history", response_model=Page[StoredFeedback], responses=responses(404))
async def history(id: str, caller: MayRead, parts: Parts) -> Response:
    """All versions of a label, the oldest first: what it corrects, and what corrected it. The last one counts.

    Of very many or long versions the last ones are told.
    """
    async with parts.database.read() as connection:
        versions = await replacing.versions(connection, id)
    texts = await parts.snapshots.read(lambda connection: label_text.latest(connection, versions))
    if not texts:
        raise not_found("feedback", id)
    return _json(f'{{"items":[{",".join(texts)}],"next":null}}')


@router.post("/{id}/retract", responses=responses(404))
async def retract(id: str, asked: Retract, caller: Giver, parts: Parts) -> StoredFeedback:
    """Withdraw a label: it is kept and marked. A task that it answered is open again.

    A label that is withdrawn already stays as it is. A key with the scope `label` may withdraw its annotator's labels,
    and is shown them as they were asked for: not who wrote which response, since the task may come again.
    """
    before = await retracting.get(parts.database, id)
    if not caller.may("feedback") and (before.source != "human" or before.annotator != caller.annotator):
        raise Forbidden("the label is another annotator's", "Use a key with the scope feedback.")
    withdrawn = await retracting.retract(parts.database, id, asked.reason, caller)
    return withdrawn if access.reads_labels(caller) else withdrawn.as_its_annotator_saw_it()


async def _one(asked: Any, read: Reader, caller: Caller, parts: Parts, once: Once) -> JSONResponse:
    label, beside = _apart(asked)
    if "nth" in beside:
        raise _refused([Fault(where="/nth", problem="it belongs to a row of a list")])
    if faults := _faults(beside, ""):
        raise _refused(faults)
    try:
        given = await read(label)
    except ValidationError as error:
        raise _refused(faults_of(error)) from None
    before = await _replaced(parts, given, beside.get("replaces"))
    [id], rows = labels.rows([given], labels.Origin(caller.key), replaced=[before])
    try:
        return await _store([given], rows, {"id": id}, 201, once)
    except AlreadyThere:
        if before is None:
            raise
        await _replaced(parts, given, before.id)  # another correction was quicker, and is named
        raise


async def _replaced(parts: Parts, given: Feedback, replaces: str | None) -> labels.Replaced | None:
    """What a label corrects. Raises `Conflict` where it can't correct that."""
    if replaces is None:
        return None
    known = await replacing.find(parts.database, {0: replacing.Corrected(given, replaces)})
    if isinstance(known[0], str):
        raise Conflict(known[0], "GET /v1/feedback/ID/history has all versions of a label.")
    return known[0]


async def _several(asked: Sequence[Any], read: Reader, caller: Caller, parts: Parts, once: Once) -> JSONResponse:
    if not 1 <= len(asked) <= MOST_ROWS:
        raise _refused([Fault(where="/", problem=f"a batch has 1 to {MOST_ROWS:,} rows; this one has {len(asked):,}")])
    async with parts.turns.batches:
        batch = await _read_batch(asked, read)
    if not batch.good:
        raise _refused(batch.faults)
    return await _store_several(batch, caller, parts, once)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of a batch by their positions: good labels, what was given beside them, and what is wrong with others."""

    size: int
    good: dict[int, Feedback]
    beside: dict[int, dict[str, Any]]
    faults: list[Fault]

    def given(self, name: str) -> Iterator[tuple[int, Feedback, Any]]:
        """Yield the labels beside which ``name`` was given, with its value."""
        for position, label in self.good.items():
            if (value := self.beside[position].get(name)) is not None:
                yield position, label, value


async def _read_batch(asked: Sequence[Any], read: Reader) -> _Batch:
    good: dict[int, Feedback] = {}
    besides: dict[int, dict[str, Any]] = {}
    faults: list[Fault] = []
    for position, row in enumerate(asked):
        if position % BREATH == BREATH - 1:
            await asyncio.sleep(0)
        label, beside = _apart(row)
        told = await _read(label, f"/{position}", read)
        wrong = _faults(beside, f"/{position}") + ([] if isinstance(told, Feedback) else told)
        if isinstance(told, Feedback) and not wrong:
            good[position], besides[position] = told, beside
        faults += wrong
    return _Batch(len(asked), good, besides, faults)


async def _store_several(batch: _Batch, caller: Caller, parts: Parts, once: Once) -> JSONResponse:
    numbered = {position: already.Numbered(label, nth) for position, label, nth in batch.given("nth")}
    corrected = {position: replacing.Corrected(label, id) for position, label, id in batch.given("replaces")}
    for attempt in range(TRIES):
        there, new = await already.find(parts.snapshots, parts.imports, numbered)
        wanted = {position: one for position, one in corrected.items() if position not in there}
        before = await replacing.find(parts.database, wanted)
        wrong = {position: said for position, said in before.items() if isinstance(said, str)}
        faults = batch.faults + [Fault(where=f"/{at}/replaces", problem=said) for at, said in wrong.items()]
        out = there.keys() | wrong.keys()
        kept = {position: label for position, label in batch.good.items() if position not in out}
        if not kept and not there:
            raise _refused(faults)
        replaced = [said if isinstance(said := before.get(at), labels.Replaced) else None for at in kept]
        origin, named = labels.Origin(caller.key), [new.get(at) for at in kept]
        ids, rows = labels.rows(list(kept.values()), origin, ids=named, replaced=replaced)
        by_row = dict(zip(kept, ids, strict=True)) | there
        in_order = [by_row.get(position) for position in range(batch.size)]
        answer = BatchGiven(ids=in_order, faults=faults, there=sorted(there))
        try:
            return await _store(list(kept.values()), rows, answer.model_dump(), 207 if faults else 201, once)
        except AlreadyThere:  # another import or correction of the same labels was quicker
            if attempt == TRIES - 1 or not (new or wanted):
                raise
    raise AssertionError("the last try returns or raises")


BESIDE = ("nth", "replaces")
"""What a row says beside its label."""


def _apart(row: Any) -> tuple[Any, dict[str, Any]]:
    """The label of a row, and what is said beside it; what is null is not said."""
    if not isinstance(row, dict) or row.keys().isdisjoint(BESIDE):  # as most are
        return row, {}
    label = {name: value for name, value in row.items() if name not in BESIDE}
    return label, {name: row[name] for name in BESIDE if name in row}


def _faults(beside: dict[str, Any], at: str) -> list[Fault]:
    faults = []
    nth, replaces = (beside.get(name) for name in BESIDE)
    if nth is not None and not (type(nth) is int and nth > 0):
        faults.append(Fault(where=f"{at}/nth", problem="expected a whole number from 1"))
    if replaces is not None and not (isinstance(replaces, str) and ID.fullmatch(replaces)):
        faults.append(Fault(where=f"{at}/replaces", problem="expected the id of a label"))
    return faults


async def _read(row: Any, at: str, read: Reader) -> Feedback | list[Fault]:
    try:
        return await read(row)
    except ValidationError as error:
        return faults_of(error, at)
    except InputError as error:
        return [Fault(where=at + error.where, problem=error.problem)]
    except Refusal as refusal:
        faults = refusal.faults or [Fault(where="", problem=refusal.detail)]
        return [Fault(where=at + fault.where, problem=fault.problem) for fault in faults]


async def _store(given: Sequence[Feedback], rows: Rows, answer: Any, status: int, once: Once) -> JSONResponse:
    await once.insert(rows, answer, status)
    labels.count(given)
    return JSONResponse(answer, status)


def _refused(faults: Sequence[Fault]) -> Invalid:
    detail = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults[:3])
    if len(faults) > 3:
        detail += f"; and {len(faults) - 3:,} more"
    return Invalid(detail, "Mend it and send it again; /docs shows each kind's form.", faults=faults)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
