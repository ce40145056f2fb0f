"""What one client may cost the others: the size of a body, the time to send it, and requests a minute.

Plain ASGI, because a body has to be counted while it comes in.
"""

import asyncio
import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem

BODY_SECONDS = 60.0  # how long a body may take to arrive
REMEMBERED = 10_000  # callers whose pace is kept


class Limits:
    """Answers 400, 408 or 413 in the application's place where a request breaks a limit."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app, self._max = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if problem := self._refuse(scope):
            await problem.response()(scope, receive, send)
            return
        started, complete, taken = False, False, 0
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS

        async def counted() -> Message:
            nonlocal complete, taken
            # After the last part `receive` waits for the client to go away, for as long as it takes.
            message = await receive() if complete else await _hurried(receive, deadline)
            complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > self._max:
                raise self._too_large()
            return message

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, sent)
        except Problem as problem:
            if started:
                raise
            await problem.response()(scope, receive, send)

    def _refuse(self, scope: Scope) -> Problem | None:
        if b"%00" in scope.get("query_string", b"") or "\0" in scope["path"]:
            return Problem(400, "malformed", "the address holds a NUL character", "Leave it out.")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        return self._too_large() if not length.isdigit() or int(length) > self._max else None

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"the body is over {self._max:,} bytes", "Send fewer rows a request.")


async def _hurried(receive: Receive, deadline: float) -> Message:
    try:
        async with asyncio.timeout_at(deadline):
            return await receive()
    except TimeoutError:
        raise Problem(408, "too_slow", f"the body took over {BODY_SECONDS:.0f} s", "Send it faster.") from None


@dataclass(slots=True)
class Pace:
    """A token bucket for each caller: ``per_minute`` requests, of which a sixth may come at once."""

    per_minute: int
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, caller: str) -> None:
        """Count one request. Raises `Problem` 429 where there are too many."""
        at = time.monotonic()
        burst, rate = max(1.0, self.per_minute / 6), self.per_minute / 60
        left, before = self._left.get(caller, (burst, at))
        left = min(burst, left + (at - before) * rate)
        if left < 1:
            wait = (1 - left) / rate
            raise Problem(
                429,
                "too_many_requests",
                f"more than {self.per_minute} requests a minute",
                "Wait, or send batches.",
                headers={"Retry-After": str(max(1, round(wait)))},
            )
        if len(self._left) > REMEMBERED:
            self._left.clear()
        self._left[caller] = (left - 1, at)
