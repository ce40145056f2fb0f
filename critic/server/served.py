"""What the engines on servers have in common: what they are charged, who answers, and how they are opened."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from critic.calls.wrappers import Concurrent, RateLimited, Retrying
from critic.engine import Engine, EngineError, Identity, Usage
from critic.server import survey
from critic.server.chat_server import ChatServer
from critic.server.server_options import ServerOptions

T = TypeVar("T")


class ServedEngine:
    """The part of an engine that is the same for every kind of server. For one event loop.

    ``must_count`` makes an answer without token counts an error. Retries, rates and limits come around it.
    """

    def __init__(
        self, server: ChatServer, identity: Identity, capabilities: dict[str, str], usage: Usage, must_count: bool
    ) -> None:
        self.identity = identity
        self.usage = usage
        self.capabilities = capabilities
        self._server, self._must_count = server, must_count
        self._busy, self._since = 0, 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    def _count(self, tokens: tuple[int, int] | None) -> None:
        """Count an answer: the ``tokens`` that were read and written, or None where the server does not say."""
        self.usage.calls += 1
        if tokens is not None:
            prompt, written = tokens
            self.usage.prompt_tokens += prompt
            self.usage.completion_tokens += written
        elif self._must_count:
            raise EngineError("the server's answer holds no token counts, which prices and tpm need")

    def _check_model(self, model: str | None) -> None:
        """Whoever answered first must answer always: labels are not bound to a gateway's other model."""
        known = self.capabilities[survey.MODEL]
        if model is not None and known == survey.UNKNOWN:
            self.capabilities[survey.MODEL] = model
        elif model is not None and model != known:
            raise EngineError(f"another model answered: {model!r}, and {known!r} before")

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time in which at least one request is under way."""
        if not self._busy:
            self._since = time.perf_counter()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self.usage.seconds_busy += time.perf_counter() - self._since


def expect_server(wanted: ServerOptions) -> None:
    """Raise `InputError` where nobody answers at the address, or the key is refused. What is served isn't asked."""
    apart(_knock(wanted))


async def _knock(wanted: ServerOptions) -> None:
    server = ChatServer(wanted.address, wanted.model)
    try:
        await server.card()
    finally:
        await server.close()


def priced(wanted: ServerOptions) -> Usage:
    """Return a count of nothing yet, at the prices that the spec gives."""
    return Usage(input_price=wanted.prices[0], output_price=wanted.prices[1]) if wanted.prices else Usage()


def wrapped(engine: Engine, wanted: ServerOptions) -> Engine:
    """Return ``engine`` with the limits, the rates and the retries of its spec around it."""
    engine = Concurrent(engine, wanted.concurrency, wanted.retries)
    if wanted.rpm is not None or wanted.tpm is not None:
        engine = RateLimited(engine, wanted.rpm, wanted.tpm)
    return Retrying(engine, wanted.retries)


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in an event loop of its own: engines are opened from without a loop and from within one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
