"""Feedback on its way into the database: bound to constitutions and annotators, then rows of two tables.

The hot path of the service. What labels are bound to is remembered, so that storing one asks the database nothing.
"""

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import zip_longest
from typing import Any

from prometheus_client import Counter as Counted
from sqlalchemy import Table, select

from base.digest import digest
from base.errors import InputError
from critic.feedback import STORABLE, Feedback, Kind, Source
from critic.feedback.base import Label
from critic.feedback.feedback import SHOWS_NOTHING, blank_place
from critic.records import Prompt, Response
from service.bounds.text_bounds import TextBounds
from service.keys.auth import Caller
from service.labels.label_form import long_form
from service.outward.metrics import FEEDBACK
from service.refusals import Forbidden
from service.store.constitutions import Constitutions
from service.store.database import Database, Rows
from service.store.tables import annotators, feedback, items, now, retractions

REMEMBERED_SECONDS = 2.0  # how long an annotator who was erased by another process may still give labels
REMEMBERED = 10_000
REPLACED = "replaced"  # why a label that was corrected is withdrawn


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a label belongs, and who sent it. ``shown`` is the order in which the annotator saw the responses."""

    key: str | None = None
    project: str | None = None
    task: str | None = None
    job: str | None = None
    shown: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A label that another one corrects: its id, and its number."""

    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class _Bound:
    ref: str
    digest: str
    principles: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Annotator:
    until: float
    exists: bool
    group: str | None


@dataclass(slots=True)
class Labels:
    """Reads feedback as it is sent, and binds it."""

    database: Database
    constitutions: Constitutions
    texts: TextBounds
    _known: dict[str, _Bound] = field(default_factory=dict)
    _annotators: dict[str, _Annotator] = field(default_factory=dict)

    async def read(self, row: Any, caller: Caller, *, measured: bool = False, storable: bool = False) -> Feedback:
        """Return the feedback that ``row`` means, in short form or long, bound.

        ``measured`` where it is known to be short enough, ``storable`` where all its texts are known to be.
        Raises `pydantic.ValidationError` for its form, `InputError` for what it names, and `Forbidden` where the
        caller may not say so, 422 where it is too long.
        """
        if not measured:
            self.texts.check(row)
        form = long_form(row)
        if isinstance(form, dict):
            _as_own(form, caller)
            await self._bind_annotator(form)
            await self._bind_constitution(form)
        given = Feedback.model_validate(form, context=STORABLE if storable else None)
        must_say_something(given.prompt, given.responses, given.label)
        await self.must_be_principles(given)
        return given

    async def must_be_principles(self, given: Feedback) -> None:
        """Raise `InputError` where the label speaks of a principle that its constitution doesn't have."""
        named = given.label.principles()
        if not named or given.constitution is None:
            return
        bound = await self._constitution(given.constitution)
        if unknown := [name for name in named if name not in bound.principles]:
            raise InputError(f"{bound.ref} has no principle {unknown[0]!r}", where="/label")

    def forget(self, annotator: str) -> None:
        """Ask the database again: the annotator was changed here."""
        self._annotators.pop(annotator, None)

    async def _bind_annotator(self, row: dict[str, Any]) -> None:
        annotator = row.get("annotator")
        if row["source"] == "human" and isinstance(annotator, str):
            group = await self._group(annotator)
            row["group"] = group if row.get("group") is None else row["group"]

    async def _bind_constitution(self, row: dict[str, Any]) -> None:
        ref, given, principle = (row.get(name) for name in ("constitution", "constitution_hash", "principle"))
        if not isinstance(ref, str):
            if given is not None:
                raise InputError("a hash alone names no constitution", where="/constitution", fix="Give NAME@VERSION.")
            return
        bound = await self._constitution(ref)
        if given not in (None, bound.digest):
            problem = f"{bound.ref} has the hash {bound.digest}, not this one"
            raise InputError(problem, where="/constitution_hash", fix="Leave it out: the server binds it.")
        if isinstance(principle, str) and principle not in bound.principles:
            raise InputError(f"{bound.ref} has no principle {principle!r}", where="/principle")
        row["constitution"], row["constitution_hash"] = bound.ref, bound.digest

    async def _constitution(self, ref: str) -> _Bound:
        if (known := self._known.get(ref)) is not None:
            return known
        try:
            constitution = await self.constitutions.get(ref)
        except InputError as error:
            raise InputError(error.problem, where="/constitution", fix=error.fix) from None
        bound = _Bound(
            constitution.ref, constitution.digest, frozenset(principle.id for principle in constitution.principles)
        )
        self._known[bound.ref] = bound  # a published version never changes
        return bound

    async def _group(self, annotator: str) -> str | None:
        known = self._annotators.get(annotator)
        if known is None or known.until < time.monotonic():
            known = await self._find(annotator)
        if not known.exists:
            raise InputError(
                f"there is no annotator {annotator!r}", where="/annotator", fix="POST /v1/annotators makes one."
            )
        return known.group

    async def _find(self, annotator: str) -> _Annotator:
        query = select(annotators.c.group).where(annotators.c.id == annotator, annotators.c.erased_at.is_(None))
        async with self.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if len(self._annotators) > REMEMBERED:
            self._annotators.clear()
        until = time.monotonic() + REMEMBERED_SECONDS
        known = self._annotators[annotator] = _Annotator(until, row is not None, row.group if row else None)
        return known


def must_say_something(
    prompt: Prompt | None = None, responses: Sequence[Response] = (), label: Label | None = None
) -> None:
    """Raise `InputError` for a text that shows nothing: it can't be compared, nor learnt from."""
    if (where := blank_place(prompt, responses, label)) is not None:
        raise InputError(SHOWS_NOTHING, where=where, fix="Leave it out, or give a text.")


def _as_own(row: dict[str, Any], caller: Caller) -> None:
    """Make the label the caller's own where it says nothing else. Raises `Forbidden` where it may not say so."""
    if caller.annotator is not None and row["source"] == "human" and row.get("annotator") is None:
        row["annotator"] = caller.annotator
    if caller.may("feedback"):
        return
    others = [name for name, own in _own(caller).items() if row.get(name) not in (None, own)]
    if others:
        detail = f"the key {caller.name!r} may only label as its own annotator; {', '.join(others)} says otherwise"
        raise Forbidden(detail, "Leave it out, or use a key with the scope feedback.")


def _own(caller: Caller) -> dict[str, str | None]:
    return {"source": "human", "annotator": caller.annotator, "group": caller.group}


def new_id() -> str:
    """A name for a new row: 32 hex digits, later ones greater, so that an index grows at its end."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def rows(
    given: Sequence[Feedback],
    origin: Origin,
    at: datetime | None = None,
    ids: Sequence[str | None] = (),
    replaced: Sequence[Replaced | None] = (),
) -> tuple[list[str], Rows]:
    """The ids that ``given`` will have, and what `Database.insert` stores of it. Call `count` once that is done.

    ``ids`` has one for each label that must have a certain one, and None for the others; ``replaced`` has what each
    label corrects, or None.
    """
    at = at or now()
    contents, records, withdrawn = {}, [], []
    for one, id, before in zip_longest(given, ids, replaced):
        content = content_of(one.prompt, one.responses)
        contents[content["id"]] = content
        record = _record(one, content["id"], origin, at) | ({} if id is None else {"id": id})
        if before is not None:
            record["replaces"] = before.id
            withdrawn.append(_replaced(before, record["id"], origin, at))
        records.append(record)
    stored: dict[Table, list[dict[str, Any]]] = {items: list(contents.values()), feedback: records}
    return [record["id"] for record in records], stored | ({retractions: withdrawn} if withdrawn else {})


def rows_of_answer(
    given: Feedback, content: str, origin: Origin, replaced: Replaced | None = None
) -> tuple[str, dict[Table, list[dict[str, Any]]]]:
    """As `rows`, of one label whose content is stored already, under the id ``content``."""
    at = now()
    record = _record(given, content, origin, at)
    if replaced is None:
        return record["id"], {feedback: [record]}
    record["replaces"] = replaced.id
    return record["id"], {feedback: [record], retractions: [_replaced(replaced, record["id"], origin, at)]}


def _replaced(before: Replaced, by: str, origin: Origin, at: datetime) -> dict[str, Any]:
    return {"seq": before.seq, "reason": REPLACED, "replaced_by": by, "key": origin.key, "at": at}


def content_of(prompt: Prompt, responses: Sequence[Response]) -> dict[str, Any]:
    """The row of what a label is about: prompt and responses in their order, with all that was said of them."""
    asked, answers = prompt.model_dump(mode="json"), [response.model_dump(mode="json") for response in responses]
    return {"id": digest(["content", asked, answers]), "prompt": asked, "responses": answers}


def item_of(prompt: Prompt, responses: Sequence[Response]) -> str:
    """`Feedback.item` of any feedback on this prompt and these responses."""
    return Feedback.model_construct(prompt=prompt, responses=tuple(responses)).item


def count(given: Sequence[Feedback]) -> None:
    """Count feedback that was stored."""
    for (kind, source), number in Counter((one.kind, one.source) for one in given).items():
        _counter(kind, source).inc(number)


@cache
def _counter(kind: Kind, source: Source) -> Counted:
    return FEEDBACK.labels(kind, source)


def _record(given: Feedback, content: str, origin: Origin, at: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "kind": given.kind,
        "source": given.source,
        "item": given.item,
        "content": content,
        "annotator": given.annotator,
        "group": given.group,
        "constitution": given.constitution,
        "constitution_hash": given.constitution_hash,
        "principle": given.principle,
        "project": origin.project,
        "task": origin.task,
        "job": origin.job,
        "label": given.label.model_dump(mode="json", exclude_defaults=True),
        "shown": None if origin.shown is None else list(origin.shown),
        "seconds": given.seconds,
        "flag": None if given.flag is None else given.flag.model_dump(),
        "replaces": None,
        "key": origin.key,
        "created_at": at,
    }
