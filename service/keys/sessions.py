"""Who is signed in to the pages: sessions of browsers, and links that sign in once. Both belong to a key.

The browser has 256 random bits in a cookie, the database their hash. A session says nothing of what its key may do:
that is asked for each request, so that a key that is revoked ends its sessions, too.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from service.keys.auth import CACHED_SECONDS, Caller, Keys
from service.refusals import Unauthorized
from service.store.database import Database
from service.store.tables import links, sessions

LINK_HOURS = 72.0
LONGEST_LINK_HOURS = 24.0 * 90
REMEMBERED = 10_000  # sessions
RENEWED_AFTER = 1 / 8  # of a session's time: it is not written at each request
AHEAD = timedelta(minutes=5)  # a session that begins later than so is of a clock that was ahead, and is over
FIX = "Sign in again."


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session. ``csrf`` is what its forms must bring along, which no other site can read."""

    id: str
    caller: Caller
    csrf: str


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link that was just made: ``token`` is its address's end, and told only now. ``row`` is what the table keeps."""

    token: str
    expires_at: datetime
    row: dict[str, Any]


def new_link(key: str, at: datetime, hours: float = LINK_HOURS) -> SignInLink:
    """Draw a link that signs in once as the holder of the key of this id; it is made ``at`` this time: `Keys.time`."""
    token = secrets.token_urlsafe(24)
    expires_at = at + timedelta(hours=hours)
    row = {"id": _sha256(token), "key": key, "created_at": at, "expires_at": expires_at, "used_at": None}
    return SignInLink(token, expires_at, row)


@dataclass(frozen=True, slots=True)
class _KnownSession:
    """A session as the database knew it, and when to ask again."""

    until: float  # of the monotonic clock
    key: str
    expires_at: datetime


_SESSION = select(sessions.c.key, sessions.c.expires_at).where(sessions.c.id == bindparam("id"))


class Sessions:
    """Begins, finds and ends sessions.

    A session that was found is remembered for as long as a key is: a page asks for several things at once. Its key is
    asked for each time all the same, and one that is revoked here ends its sessions at once.
    """

    def __init__(self, database: Database, keys: Keys, hours: float) -> None:
        self._database, self._keys, self._time = database, keys, timedelta(hours=hours)
        self._known: dict[str, _KnownSession] = {}
        self._changes = 0  # of sessions here: what was asked before one is not remembered after it

    async def begin(self, key: str) -> str:
        """Begin a session of the key of this id; return what the browser keeps."""
        token = secrets.token_urlsafe(32)
        await self._database.insert({sessions: [self._row(token, key)]})
        return token

    async def find(self, token: str) -> Session:
        """The session of a browser. Raises `Unauthorized` where it is over, or its key is."""
        id = _sha256(token)
        known = self._known.get(id)
        if known is None or known.until < time.monotonic():
            known = await self._find(id)
        at = self._keys.time
        if known is None or not at < known.expires_at <= at + self._time + AHEAD:
            raise _over("your session has ended")
        caller = await self._keys.holder(known.key)
        if known.expires_at - at < self._time * (1 - RENEWED_AFTER):
            await self._renew(id)
        return Session(id, caller, csrf(token))

    async def _find(self, id: str) -> _KnownSession | None:
        changes, until = self._changes, time.monotonic() + CACHED_SECONDS
        row = await self._database.look(lambda connection: connection.execute(_SESSION, {"id": id}).one_or_none())
        if row is None:
            self._known.pop(id, None)
            return None
        known = _KnownSession(until, row.key, row.expires_at)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        if changes == self._changes:
            self._known[id] = known
        return known

    def _forget(self, id: str) -> None:
        self._changes += 1
        self._known.pop(id, None)

    async def end(self, id: str) -> None:
        """End one session."""
        async with self._database.transaction() as connection:
            await connection.execute(delete(sessions).where(sessions.c.id == id))
        self._forget(id)

    async def peek(self, token: str) -> Caller:
        """Whose link it is, without using it. Raises `Unauthorized` where it can't be used any more."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(links).where(links.c.id == _sha256(token)))).one_or_none()
        if row is None:
            raise _over("this link is none of ours")
        if row.used_at is not None:
            raise _over("this link was used already")
        if row.expires_at <= self._keys.time:
            raise _over("this link ran out")
        return await self._keys.holder(row.key)

    async def use(self, token: str) -> str:
        """Use a link: of several who try at once, one begins a session. Raises as `peek`."""
        caller = await self.peek(token)
        session = secrets.token_urlsafe(32)
        async with self._database.transaction() as connection:
            unused = update(links).where(links.c.id == _sha256(token), links.c.used_at.is_(None))
            unused = unused.where(links.c.expires_at > self._keys.time)
            if not (await connection.execute(unused.values(used_at=self._keys.time))).rowcount:
                raise _over("this link was used already")
            await connection.execute(sessions.insert(), self._row(session, caller.key))
        return session

    def _row(self, token: str, key: str) -> dict[str, Any]:
        at = self._keys.time  # of a clock that went back since, a session would be over when it begins
        return {"id": _sha256(token), "key": key, "created_at": at, "expires_at": at + self._time}

    async def _renew(self, id: str) -> None:
        async with self._database.transaction() as connection:
            change = update(sessions).where(sessions.c.id == id).values(expires_at=self._keys.time + self._time)
            await connection.execute(change)
        self._forget(id)


def csrf(token: str) -> str:
    """What forms bring along that were made for the browser with this cookie."""
    return _sha256(f"csrf {token}")


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _over(detail: str) -> Unauthorized:
    return Unauthorized(detail, FIX)
