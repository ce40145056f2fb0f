"""What one client may cost the others: the size of a body, the time to send it, memory, and requests.

Plain ASGI, because a body has to be counted while it comes in.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.outward.metrics import METHODS
from service.refusals import Busy, Malformed, NoSuchMethod, Refusal, TooLarge, TooMany, TooSlow

REMEMBERED = 10_000  # callers whose pace is kept
SHORT_BYTES = 2**16  # a body that waits for no turn: as many as there may be connections are few megabytes
TURN_SECONDS = 10.0  # how long a longer one waits for its turn
HEAD_BYTES = 2**15  # of a request's address and headers: libraries look through some of them more than once

_QUOTED = re.compile(rb'["\\]')


class Limits:
    """Answers 400, 408, 413, 501 or 503 in the application's place where a request breaks a limit."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, bodies_bytes: int, body_seconds: float) -> None:
        self._app, self._max, self._seconds = app, max_body_bytes, body_seconds
        self._bodies = Room(bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = [(name, _plain(value) if name == b"cookie" else value) for name, value in scope["headers"]]
        headers = dict(scope["headers"])
        if refusal := self._refuse(scope, headers):
            await problems.of(refusal).response()(scope, receive, send)
            return
        started = False
        body = _Body(receive, self._max, self._seconds, self._bodies, self._size(headers))

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, body.receive, sent)
        except Refusal as refusal:
            if started:
                raise
            await problems.of(refusal).response()(scope, receive, send)
        finally:
            body.leave()

    def _refuse(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Refusal | None:
        if b"%00" in scope.get("query_string", b"") or "\0" in scope["path"]:
            return Malformed("the address holds a NUL character", "Leave it out.")
        if scope["method"] not in METHODS:  # the router would compare all routes
            return NoSuchMethod("HTTP knows no such method", "See /docs.")
        if _head_bytes(scope) > HEAD_BYTES:
            return TooLarge(f"address and headers have more than {HEAD_BYTES:,} bytes", "Send less.", slug="long_head")
        length = headers.get(b"content-length", b"0")
        return _too_large(self._max) if not length.isdigit() or int(length) > self._max else None

    def _size(self, headers: Mapping[bytes, bytes]) -> int:
        """How long the body may be: what is said, or as much as is allowed."""
        return self._max if b"transfer-encoding" in headers else int(headers.get(b"content-length", b"0"))


class Room:
    """Memory that bodies share. Whoever finds it taken waits, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self.most = self._left = most
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Return when there is room for ``size`` bytes. Raises `Busy` where that takes too long."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = min(size, self.most), turn
        self._queue.append(entry)
        self._go_on()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn
        except TimeoutError:
            self._leave_queue(entry)
            raise Busy("other long requests are being worked on") from None
        except BaseException:  # also where the client is gone: what was taken is given back, and it goes on up
            self._leave_queue(entry)
            raise

    def give_back(self, size: int) -> None:
        """What was taken is free again."""
        self._left += min(size, self.most)
        self._go_on()

    def _leave_queue(self, entry: tuple[int, asyncio.Future[None]]) -> None:
        if entry in self._queue:
            self._queue.remove(entry)
            self._go_on()
        else:
            self.give_back(entry[0])

    def _go_on(self) -> None:
        while self._queue and self._queue[0][0] <= self._left:
            size, turn = self._queue.popleft()
            self._left -= size
            if not turn.done():
                turn.set_result(None)


class _Body:
    """The body of one request as it comes in, and the memory that it has until the request is answered."""

    def __init__(self, receive: Receive, most: int, seconds: float, room: Room, size: int) -> None:
        self._receive, self._max, self._seconds = receive, most, seconds
        self._room, self._size = room, size
        self._deadline: float | None = None
        self._complete = self._has_room = False
        self._taken = 0

    async def receive(self) -> Message:
        """ASGI. Raises `Refusal`."""
        if self._complete:  # from here on it waits for the client to go away, for as long as it takes
            return await self._receive()
        if self._deadline is None:
            if self._size > SHORT_BYTES:
                await self._room.take(self._size)
                self._has_room = True
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        message = await self._hurried(self._deadline)
        self._complete = not message.get("more_body", False)
        self._taken += len(message.get("body", b""))
        if self._taken > self._max:
            raise _too_large(self._max)
        return message

    def leave(self) -> None:
        """The request was answered, or given up."""
        if self._has_room:
            self._has_room = False
            self._room.give_back(self._size)

    async def _hurried(self, deadline: float) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._receive()
        except TimeoutError:
            raise TooSlow(f"the body took over {self._seconds:g} s", "Send it faster.") from None


def _head_bytes(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["path"]) + len(scope.get("query_string", b""))


def _plain(cookies: bytes) -> bytes:
    """The cookies whose values are written as they are, as ours all are.

    Python 3.11 takes the square of a quoted value's length to read it, before anybody has asked for a cookie.
    """
    if not _QUOTED.search(cookies):
        return cookies
    return b";".join(cookie for cookie in cookies.split(b";") if not _QUOTED.search(cookie))


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is over {most:,} bytes", "Send fewer rows a request.")


@dataclass(slots=True)
class TokenBuckets:
    """A token bucket for each caller: ``per_minute`` requests, of which a sixth may come at once.

    ``at_once`` is how many of a caller's requests may be under way.
    """

    per_minute: int
    at_once: int
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _under_way: Counter[str] = field(default_factory=Counter)

    def take(self, caller: str) -> None:
        """Count one request. Raises `TooMany` where there are too many."""
        at = time.monotonic()
        burst, rate = max(1.0, self.per_minute / 6), self.per_minute / 60
        left, before = self._left.get(caller, (burst, at))
        left = min(burst, left + (at - before) * rate)
        if left < 1:
            raise _too_many(f"more than {self.per_minute} requests a minute", (1 - left) / rate)
        if len(self._left) > REMEMBERED:
            self._left.clear()
        self._left[caller] = (left - 1, at)

    @contextmanager
    def under_way(self, caller: str) -> Iterator[None]:
        """Count a request while it is worked on. Raises `TooMany` where the caller has too many of them."""
        if self._under_way[caller] >= self.at_once:
            raise _too_many(f"more than {self.at_once} requests at once", 1)
        self._under_way[caller] += 1
        try:
            yield
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]


def _too_many(problem: str, wait: float) -> TooMany:
    return TooMany(problem, "Wait, or send batches.", retry_after=max(1, round(wait)))
