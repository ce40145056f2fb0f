"""The engines of a server, used by the worker beside it: both ends of the socket between the two processes.

So a model is in memory once, is asked by both, and the server's interactive requests go first: a worker's are of the
batch lane. Messages cross as pickles, which only these two processes can send: the socket has no address.
"""

import asyncio
import itertools
import pickle
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from critic.engine import Completion, Engine, EngineError, Identity, Lane, Node, Request, RunStopped, Score, Usage
from critic.engines import Spec
from service.engines import Engines, SharedEngine
from service.settings import Settings
from service.store.database import Database

BEATS = 4  # a worker that missed so many is taken for dead

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a worker may say nothing: while it loads what it needs, and from its first beat on."""

    first: float
    then: float


@dataclass(frozen=True, slots=True)
class LearntByEngine:
    """What an engine may learn while it is asked."""

    capabilities: Mapping[str, str]
    room: int

    @classmethod
    def of(cls, engine: Engine) -> Self:
        """As it is now."""
        return cls(dict(engine.capabilities), engine.usage.room)


@dataclass(frozen=True, slots=True)
class EngineCard:
    """What an engine is, as far as it never changes, and what it has learnt so far."""

    identity: Identity
    whole_trees: bool
    prices: tuple[float, float]
    learnt: LearntByEngine


async def serve(connection: socket.socket, settings: Settings, engines: Engines, patience: Patience) -> None:
    """Answer a worker until it is gone. Raises `TimeoutError` where it says nothing, though its process is there."""
    reader, writer = await asyncio.open_connection(sock=connection)
    tasks: dict[int, asyncio.Task[None]] = {}

    async def answer(number: int, name: str, verb: str, arguments: tuple[Any, ...]) -> None:
        try:
            reply: object = await _ask(engines, name, verb, arguments)
        except (EngineError, RunStopped) as error:
            reply = error
        except Exception as error:  # whatever an engine raises costs one row of the job
            reply = EngineError(f"{type(error).__name__}: {error}")
        finally:
            del tasks[number]
        _send(writer, (number, reply))

    try:
        _send(writer, settings)
        wait = patience.first
        while (message := await asyncio.wait_for(_receive(reader), wait)) is not None:
            wait = patience.then
            number, name, verb, *arguments = message
            if verb == "beat":
                continue
            if verb != "cancel":
                tasks[number] = asyncio.create_task(answer(number, name, verb, tuple(arguments)))
            elif number in tasks:
                tasks[number].cancel()
    finally:
        for task in list(tasks.values()):
            task.cancel()
        writer.close()


async def _ask(engines: Engines, name: str, verb: str, arguments: tuple[Any, ...]) -> object:
    engine = await engines.get(name)
    if verb == "about":
        prices = engine.usage.input_price, engine.usage.output_price
        return EngineCard(engine.identity, engine.whole_trees, prices, LearntByEngine.of(engine))
    [what] = arguments
    answer = await (engine.complete(what, "batch") if verb == "complete" else engine.score(what, "batch"))
    return answer, LearntByEngine.of(engine)


class WorkerLink:
    """The worker's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settings: Settings) -> None:
        self.settings, self.ended = settings, asyncio.Event()
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read(), name="link to the server")
        self._beating = asyncio.create_task(self._beat(), name="heartbeat over the link")

    @classmethod
    async def open(cls, connection: socket.socket) -> Self:
        """Take up the connection; the first message has the settings."""
        reader, writer = await asyncio.open_connection(sock=connection)
        return cls(reader, writer, await _receive(reader))

    async def ask(self, name: str, verb: str, *arguments: object) -> Any:
        """Ask an engine. Where the server is gone there is no answer, and this process is about to end."""
        number, future = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        _send(self._writer, (number, name, verb, *arguments))
        try:
            answer = await future
        except asyncio.CancelledError:
            _send(self._writer, (number, name, "cancel"))
            raise
        finally:
            del self._waiting[number]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Let go of the socket."""
        self._reading.cancel()
        self._beating.cancel()
        self._writer.close()

    async def _beat(self) -> None:
        """Say again and again that this process goes on: one that was stopped keeps its socket."""
        while True:
            _send(self._writer, (0, "", "beat"))
            await asyncio.sleep(self.settings.heartbeat_seconds)

    async def _read(self) -> None:
        while (message := await _receive(self._reader)) is not None:
            number, answer = message
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(answer)
        self.ended.set()


class LinkedEngine:
    """An engine of the server's: see `critic.engine.Engine`."""

    def __init__(self, link: WorkerLink, name: str, about: EngineCard) -> None:
        self._link, self._name, self._about = link, name, about
        self.usage = Usage(input_price=about.prices[0], output_price=about.prices[1])
        self._learn(about.learnt)

    @property
    def identity(self) -> Identity:
        """See `Engine.identity`."""
        return self._about.identity

    @property
    def capabilities(self) -> Mapping[str, str]:
        """See `Engine.capabilities`."""
        return self._capabilities

    @property
    def whole_trees(self) -> bool:
        """See `Engine.whole_trees`."""
        return self._about.whole_trees

    async def complete(self, request: Request, lane: Lane = "batch") -> Completion:
        """See `Engine.complete`."""
        completion: Completion = await self._ask("complete", request)
        return completion

    async def score(self, tree: Node, lane: Lane = "batch") -> tuple[Score, ...]:
        """See `Engine.score`."""
        scores: tuple[Score, ...] = await self._ask("score", tree)
        return scores

    async def close(self) -> None:
        """The engine is the server's, which closes it."""

    async def _ask(self, verb: str, what: Request | Node) -> Any:
        answer, learnt = await self._link.ask(self._name, verb, what)
        self._learn(learnt)
        return answer

    def _learn(self, learnt: LearntByEngine) -> None:
        self._capabilities, self.usage.room = learnt.capabilities, learnt.room


class LinkedEngines(Engines):
    """The engines of the server, by the names that it has for them."""

    def __init__(self, link: WorkerLink, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self._link = link

    async def _open(self, name: str, spec: Spec) -> SharedEngine:
        try:
            return SharedEngine(LinkedEngine(self._link, name, await self._link.ask(name, "about")), name, spec)
        except BaseException:  # whatever it was, the next job asks again
            self._tasks.pop(name, None)
            raise


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    if not writer.is_closing():
        content = pickle.dumps(message)
        writer.write(_LENGTH.pack(len(content)) + content)


async def _receive(reader: asyncio.StreamReader) -> Any:
    """The next message, or None where the other end is gone."""
    try:
        [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
