"""API keys: who asks, and what they may do. A key is told once; the database holds its hash.

Each key has scopes, and may belong to an annotator: then labels given with it are that annotator's and no one else's.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import bindparam, select

from service.refusals import Forbidden, Unauthorized
from service.store.database import Database
from service.store.tables import annotators, audit, clock, keys, now

Scope = Literal["read", "feedback", "label", "jobs", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "cai"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
CACHED_SECONDS = 2.0  # how long a key that was revoked by another process may still work


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from. ``annotator`` is an id, and ``group`` that annotator's."""

    key: str
    name: str
    scopes: frozenset[str]
    annotator: str | None = None
    group: str | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the caller has ``scope``. An administrator has all."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that its text exists here."""

    id: str
    text: str
    row: dict[str, Any]


def new_key(
    name: str, scopes: Iterable[str], *, annotator: str | None = None, expires_at: datetime | None = None
) -> NewKey:
    """Draw a key with 256 random bits. ``row`` is what the table ``keys`` keeps of it."""
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = {
        "id": id,
        "name": name,
        "hash": _sha256(secret),
        "scopes": sorted(set(scopes)),
        "annotator": annotator,
        "created_at": now(),
        "expires_at": expires_at,
        "revoked_at": None,
    }
    return NewKey(id, f"{PREFIX}_{id}_{secret}", row)


@dataclass(frozen=True, slots=True)
class _KnownKey:
    """A key as the database knew it, and when to ask again."""

    until: float  # of the monotonic clock
    sha256: str
    caller: Caller
    expires_at: datetime | None


_KEY = (
    select(
        keys,
        annotators.c.group,
        annotators.c.erased_at,
        select(clock.c.believed).scalar_subquery().label("believed"),
    )
    .join(annotators, keys.c.annotator == annotators.c.id, isouter=True)
    .where(keys.c.id == bindparam("id"))
)


class Keys:
    """Looks keys up, and remembers them for a moment.

    The requests that come while a key is looked up share that one look: of a key that 64 clients use, all 64 would ask
    the database in the moment in which it is forgotten.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._believed = EARLIEST
        self._asked: dict[str, asyncio.Task[_KnownKey | str]] = {}
        self._known: dict[str, _KnownKey] = {}

    async def caller(self, text: str | None) -> Caller:
        """Who the key ``text`` belongs to. Raises `Unauthorized` where that is nobody, or nobody any more."""
        parts = (text or "").split("_", 2)
        if len(parts) != 3 or parts[0] != PREFIX:
            raise _refused("no API key" if not text else "this is no API key of this service")
        _, id, secret = parts
        known = await self._look_up(id)
        if not secrets.compare_digest(known.sha256, _sha256(secret)):
            raise _refused("the API key is wrong")
        self._must_be_valid(known.expires_at)
        return known.caller

    async def holder(self, id: str) -> Caller:
        """Who the key of this id belongs to, for who has shown its text before. Raises `Unauthorized` as `caller`."""
        known = await self._look_up(id)
        self._must_be_valid(known.expires_at)
        return known.caller

    async def _look_up(self, id: str) -> _KnownKey:
        known = self._known.get(id)
        if known is None or known.until < time.monotonic():
            known = await self._find(id)
        return known

    def _must_be_valid(self, expires_at: datetime | None) -> None:
        # Of a clock that went back, what was believed before counts: a key that expired stays so.
        if expires_at is not None and expires_at <= self.time:
            raise _refused(f"the API key expired at {expires_at.isoformat(timespec='seconds')}")

    @property
    def time(self) -> datetime:
        """Now, or what was believed before where a clock went back since."""
        return max(now(), self._believed)

    def forget(self, id: str) -> None:
        """Ask the database again: the key was changed here."""
        self._known.pop(id, None)
        self._asked.pop(id, None)  # it may have been asked before the change

    async def _find(self, id: str) -> _KnownKey:
        asked = self._asked.get(id)
        if asked is None:
            asked = self._asked[id] = asyncio.create_task(self._ask(id))
            asked.add_done_callback(lambda task: self._end(id, task))
        known = await asyncio.shield(asked)  # one client that goes away doesn't end what others wait for
        if isinstance(known, str):
            raise _refused(known)
        return known

    async def _ask(self, id: str) -> _KnownKey | str:
        """What the database knows of a key, or why that is nobody's."""
        row = await self._database.look(
            lambda connection: connection.execute(_KEY, {"id": id}).mappings().one_or_none(),
        )
        # A key that was made while its annotator was erased is nobody's, too.
        if row is None or row["revoked_at"] is not None or row["erased_at"] is not None:
            self._known.pop(id, None)
            return "the API key is wrong" if row is None else "the API key was revoked"
        self._believed = row["believed"] or EARLIEST
        caller = Caller(id, row["name"], frozenset(row["scopes"]), row["annotator"], row["group"])
        known = _KnownKey(time.monotonic() + CACHED_SECONDS, row["hash"], caller, row["expires_at"])
        if self._asked.get(id) is asyncio.current_task():  # else it was changed here meanwhile
            self._known[id] = known
        return known

    def _end(self, id: str, asked: asyncio.Task[_KnownKey | str]) -> None:
        if self._asked.get(id) is asked:
            del self._asked[id]
        if not asked.cancelled():
            asked.exception()  # where all who waited are gone, nobody else looks at it


def require(caller: Caller, scopes: Sequence[Scope]) -> None:
    """Raise `Forbidden` where the caller has none of ``scopes``."""
    if not any(caller.may(scope) for scope in scopes):
        needed = " or ".join(scopes)
        raise Forbidden(f"the key {caller.name!r} lacks the scope {needed}", "Use a key that has it.")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _refused(detail: str) -> Unauthorized:
    fix = "Send a key as `Authorization: Bearer cai_...`. An administrator makes them: POST /v1/keys."
    return Unauthorized(detail, fix)


def audited(caller: Caller, action: str, target: str, **detail: Any) -> dict[Any, list[dict[str, Any]]]:
    """The row that says who did what, to be stored in the transaction of what was done."""
    return {audit: [{"at": now(), "key": caller.key, "action": action, "target": target, "detail": detail}]}
