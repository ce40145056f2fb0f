"""Engines around an engine: asking again, keeping to a rate, and a limit on what is under way.

    Retrying(RateLimited(Concurrent(engine)))

`Retrying` is outside, so that each attempt counts against the rate and a request that waits holds no slot. `Concurrent`
is inside, because it sees every answer first: once the server says "too many", what is queued there is held back too,
and where nobody is there, one call tries again while all others wait for it, on one clock.
Clock, sleep and chance are arguments, for tests.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from base.backoff import BackOff
from base.together import together
from critic.calls.bucket import Bucket, Clock
from critic.calls.under_way import queued, sent
from critic.calls.waiting import Notices
from critic.engine import (
    Completion,
    Decision,
    Engine,
    EngineDown,
    Identity,
    Lane,
    Node,
    Read,
    Request,
    Score,
    Unavailable,
    Usage,
    reads,
)
from critic.records import Message

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

# Of seconds. The first wait doubles with each attempt; a server that asks for more than the longest ends the run.
FIRST_WAIT = 1.0
LONGEST_BACK_OFF = 60.0
LONGEST_WAIT = 300.0
# So long is waited for a server to which there is no connection. With the tries themselves that stays below half a
# minute: a server that restarts is back by then, or takes minutes to load its model.
LONGEST_OUTAGE = 20.0
# So long a server may tell everyone to come later. Limits are by the minute: this is one that lets nothing through.
LONGEST_BUSY = 90.0
# English text in the tokenizers of current models; in UTF-8, other languages are not far from it. A message takes some
# control tokens, too.
BYTES_PER_TOKEN = 4
_TOKENS_A_MESSAGE = 4
_NO_WAIT = 1e-6


class ServerBusy(Unavailable):
    """The server takes no request just now. Others would only make it worse: they are held back, too."""


class Unreachable(ServerBusy):
    """There is no connection to the server at all."""


class Outage:
    """That nobody is there. The call that noticed it tries again, and all others wait for what comes of it."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._reason: str | None = None

    def end(self, reason: str | None = None) -> None:
        """Let all go on; with a ``reason``, tell them that the server is gone."""
        self._reason = reason
        self._ended.set()

    async def over(self) -> None:
        """Wait for its end. Raises `EngineDown` where the server did not come back."""
        await self._ended.wait()
        if self._reason is not None:
            raise EngineDown(self._reason)


class Wrapper:
    """An engine that passes everything on to another. What is different comes around `_call`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def identity(self) -> Identity:
        """The wrapped engine's."""
        return self._engine.identity

    @property
    def capabilities(self) -> Mapping[str, str]:
        """The wrapped engine's."""
        return self._engine.capabilities

    @property
    def whole_trees(self) -> bool:
        """The wrapped engine's."""
        return self._engine.whole_trees

    @property
    def usage(self) -> Usage:
        """The wrapped engine's: what was really asked of it."""
        return self._engine.usage

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """See `Engine.complete`."""
        return await self._call(lambda: self._engine.complete(request, lane), request, lane)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """See `Engine.score`."""
        return await self._call(lambda: self._engine.score(tree, lane), tree, lane)

    async def close(self) -> None:
        """Close the wrapped engine."""
        await self._engine.close()

    async def _call(self, ask: Callable[[], Awaitable[T]], what: Request | Node, lane: Lane) -> T:
        return await ask()


class Retrying(Wrapper):
    """Asks again where the engine was `Unavailable`, up to ``retries`` times; any other error is told at once.

    Waits double, with jitter, and are never shorter than the server asked for. `EngineDown` where it asks for more than
    `LONGEST_WAIT`, and where at the last attempt nobody is there. A tree is asked read by read where the engine does
    not compute it as a whole, so that one read's failure repeats no other.
    """

    def __init__(
        self,
        engine: Engine,
        retries: int,
        *,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(engine)
        self._again = BackOff(first=FIRST_WAIT, longest=LONGEST_BACK_OFF, tries=retries, jitter=True)
        self._sleep, self._chance = sleep, chance
        self._notices = Notices(clock)

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """See `Engine.score`."""
        if self.whole_trees:
            return await super().score(tree, lane)
        single = [Node(path[: len(path) - len(own)], None, (Node(own, read),)) for path, read, own in reads(tree)]
        scores = await together(super(Retrying, self).score(one, lane) for one in single)
        return tuple(score for [score] in scores)

    async def _call(self, ask: Callable[[], Awaitable[T]], what: Request | Node, lane: Lane) -> T:
        waits = self._again.waits(chance=self._chance)
        while True:
            try:
                answer = await ask()
            except Unavailable as error:
                asked = error.retry_after or 0.0
                if asked > LONGEST_WAIT:
                    told = f"{error}; the server asks to wait {asked:.0f} s, longer than the {LONGEST_WAIT:.0f} s"
                    raise EngineDown(f"{told} that are waited") from None
                if (wait := next(waits, None)) is None:
                    raise EngineDown(str(error)) if isinstance(error, Unreachable) else error from None
                why = str(error)
            else:
                self._notices.answered()
                return answer
            self._notices.wait(why, max(wait, asked))
            queued()
            with self._notices.waiting(why):
                await self._sleep(max(wait, asked))


class RateLimited(Wrapper):
    """Keeps to requests and tokens a minute, evenly. A tree counts as many requests as it has reads.

    Tokens are estimated before, and corrected by what the engine counted after. The interactive lane goes first.
    """

    def __init__(
        self,
        engine: Engine,
        rpm: int | None,
        tpm: int | None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(engine)
        self._requests = Bucket(rpm, clock) if rpm is not None else None
        self._tokens = Bucket(tpm, clock) if tpm is not None else None
        self._sleep = sleep
        self._notices = Notices(clock)
        self._counted = self._used()
        self._turns: dict[Lane, asyncio.Lock] = {"batch": asyncio.Lock(), "interactive": asyncio.Lock()}

    async def _call(self, ask: Callable[[], Awaitable[T]], what: Request | Node, lane: Lane) -> T:
        requests, prompt, written = load(what, self.usage.room)
        tokens = prompt + written
        queued()
        async with self._turns[lane]:
            while (wait := self._wait(requests, tokens)) > _NO_WAIT:
                with self._notices.waiting(f"the rate that is kept for {self.identity.name}"):
                    await self._sleep(wait)
                if lane == "batch":
                    async with self._turns["interactive"]:
                        pass  # whoever is there goes first
            self._take(requests, tokens)
        try:
            return await ask()
        finally:
            used = self._used()
            self._take(0, used - self._counted - tokens)
            self._counted = used

    def _wait(self, requests: int, tokens: int) -> float:
        for_requests = self._requests.wait(requests) if self._requests is not None else 0.0
        for_tokens = self._tokens.wait(tokens) if self._tokens is not None else 0.0
        return max(for_requests, for_tokens)

    def _take(self, requests: int, tokens: int) -> None:
        if self._requests is not None:
            self._requests.take(requests)
        if self._tokens is not None:
            self._tokens.take(tokens)

    def _used(self) -> int:
        return self.usage.prompt_tokens + self.usage.completion_tokens


class Concurrent(Wrapper):
    """Lets so many calls be under way, and as many interactive ones, which never queue behind the batch lane.

    Where the server is `ServerBusy`, or says when to come again, no other call is sent before that time either. Where
    it is `Unreachable`, the call that noticed it tries again, up to ``retries`` times and for `LONGEST_OUTAGE` seconds,
    and nobody else does; then all end with `EngineDown`, and so does whoever finds it still gone later. So it is where
    the server has been `ServerBusy` for everyone for more than `LONGEST_BUSY` seconds.
    """

    def __init__(
        self,
        engine: Engine,
        limit: int,
        retries: int = 5,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(engine)
        self._slots: dict[Lane, asyncio.Semaphore] = {
            "batch": asyncio.Semaphore(limit),
            "interactive": asyncio.Semaphore(limit),
        }
        # One clock for all needs no jitter.
        self._again = BackOff(first=FIRST_WAIT, tries=retries, within=LONGEST_OUTAGE)
        self._clock, self._sleep = clock, sleep
        self._notices = Notices(clock)
        self._not_before = clock()
        self._outage: Outage | None = None
        self._busy_since: float | None = None
        self._gone: tuple[float, str] | None = None  # when it was given up, and why

    async def _call(self, ask: Callable[[], Awaitable[T]], what: Request | Node, lane: Lane) -> T:
        began = self._clock()
        queued()
        while True:
            if self._outage is not None:
                await self._outage.over()
            async with self._slots[lane]:
                if self._outage is not None:  # it began while this call queued
                    continue
                if self._gone is not None and began < self._gone[0]:  # so did its end
                    raise EngineDown(self._gone[1])
                await self._held_back()
                sent()
                try:
                    return self._there(await ask())
                except Unreachable as error:
                    # Who was under way when it began, and those who notice it at the same time, wait for the first.
                    if self._outage is None:
                        return await self._reconnect(ask, error)
                except Unavailable as error:
                    self._hold_back(error)
                    raise

    async def _held_back(self) -> None:
        while (wait := self._not_before - self._clock()) > _NO_WAIT:
            if wait > LONGEST_WAIT:
                raise Unavailable("the server has asked not to be asked now", wait)
            with self._notices.waiting(f"{self.identity.name} has asked to be asked later"):
                await self._sleep(wait)

    def _hold_back(self, error: Unavailable) -> None:
        if isinstance(error, ServerBusy):
            self._busy_since = self._clock() if self._busy_since is None else self._busy_since
            if (lasted := self._clock() - self._busy_since) > LONGEST_BUSY:
                raise EngineDown(f"{error}; so it has been for {lasted:.0f} s, and nothing was answered")
        if error.retry_after is not None or isinstance(error, ServerBusy):
            asked = FIRST_WAIT if error.retry_after is None else error.retry_after
            self._not_before = max(self._not_before, self._clock() + asked)

    async def _reconnect(self, ask: Callable[[], Awaitable[T]], error: Unreachable) -> T:
        """Try again until somebody is there, for everyone."""
        outage = self._outage = Outage()
        gone: str | None = None
        try:
            for wait in () if self._gone else self._again.waits(clock=self._clock):
                self._notices.wait(str(error), wait)
                with self._notices.waiting(str(error)):
                    await self._sleep(wait)
                try:
                    return self._there(await ask())
                except Unreachable as again:
                    error = again
                except Unavailable as busy:  # somebody is there
                    self._hold_back(busy)
                    raise
            gone = str(error)
            self._gone = self._clock(), gone
            raise EngineDown(gone) from None
        finally:  # where this call was given up, the next one tries
            self._outage = None
            outage.end(gone)

    def _there(self, answer: T) -> T:
        self._gone = self._busy_since = None
        self._notices.answered()
        return answer


class CallLoad(NamedTuple):
    """How many requests a call is, and its tokens: estimated of the prompts, at most those written.

    Decisions about one text are one request, whose prompt counts once for each: the most that a server may charge.
    """

    requests: int
    prompt: int
    written: int


def load(what: Request | Node, room: int = 0) -> CallLoad:
    """Return what a call asks of a server, whose model may think for ``room`` tokens before it answers."""
    if isinstance(what, Request):
        return CallLoad(1, estimated_tokens(what.messages), what.sampling.max_tokens + room)
    asked = list(reads(what))
    decided = {path for path, read, _ in asked if isinstance(read, Decision)}
    alone = sum(not isinstance(read, Decision) for _, read, _ in asked)
    prompts = [estimated_tokens(path) + _tokens_of_question(read) for path, read, _ in asked]
    return CallLoad(len(decided) + alone, sum(prompts), len(prompts))


def _tokens_of_question(read: Read) -> int:
    if not isinstance(read, Decision):
        return 0
    texts = [read.instructions, *(o.name + o.description for o in read.options)]
    return sum(len(text.encode()) // BYTES_PER_TOKEN + _TOKENS_A_MESSAGE for text in texts)


def estimated_tokens(messages: Iterable[Message]) -> int:
    """Return about how many tokens a chat takes."""
    return sum(len(m.content.encode()) // BYTES_PER_TOKEN + _TOKENS_A_MESSAGE for m in messages)
